"""One sync: sources in turn, each a loop of load packages, and the row of `runs` about it.

No paging, SQL about records or output may enter: the source reads, dlt loads, and the caller prints.
"""
