"""Copies what the DuckDB file holds to another destination. No request to a vendor may enter.

`copy_sources.py` runs the copy, `dataset.py` reads the file, `storable.py` finds what a destination cannot store.
"""
