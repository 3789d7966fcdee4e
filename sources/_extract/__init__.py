"""Makes a dlt source of a declared feed: its settings, a resource for each stream, and how rows are written.

No vendor and no rule about what is new may enter: those stand in the vendor's folder and in `_incremental`.
"""
