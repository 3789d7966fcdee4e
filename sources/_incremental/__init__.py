"""What is new since the last sync: declared feeds, the walk over a listing, parents read side by side.

No vendor, SQL or dlt may enter: a feed yields load items, and `_extract` hands them to dlt.
"""
