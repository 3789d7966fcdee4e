"""When a sync runs, how much it reads, where the rows go, and whether all is well.

No vendor's name may enter: what must be known of a source is asked of it. Imports `sources`, never the reverse.
"""
