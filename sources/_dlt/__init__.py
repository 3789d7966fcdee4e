"""dlt's tables, columns and insides by name: the one place in `sources` that knows how dlt keeps its own things.

No model, vendor or HTTP may enter; nothing outside this folder is imported.
"""
