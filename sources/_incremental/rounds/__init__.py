"""One sync of a feed whose records are read by parent, step by step; the feeds declare what differs.

No vendor, SQL or dlt may enter.
"""
