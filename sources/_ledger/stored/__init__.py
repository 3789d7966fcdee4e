"""Reads what earlier syncs stored: the ledger of the current pipeline's destination, and rows of the vendor's tables.

No decision on what to read next may enter, and no table that a sync fills: `ledger.py` declares those.
"""
