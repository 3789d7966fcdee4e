"""One sync of one source: what it is asked to read, the load package it fills, and what is proven or failed.

No vendor's paging and no listing may enter: those stand in `_incremental`, which imports this folder.
"""
