"""Answers questions about the data to programs that speak MCP, such as assistants.

It reads by the page's connections. Nothing that writes, and no request to a vendor, may enter.
"""
