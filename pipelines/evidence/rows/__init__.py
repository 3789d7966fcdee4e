"""How many rows are here, against how many there should be: by table, and below each record.

No verdict may enter: `completeness.py` gives it, and `sync` and `ledger` write what is noted.
"""
