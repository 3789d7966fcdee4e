"""Connects to a vendor: bodies within bounds, and proxies that an error names.

No retry, no key and no meaning of an answer may enter; what is private of the HTTP library stands in `transport.py`.
"""
