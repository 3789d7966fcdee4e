"""What finds the gaps of one source, a module for each thing that leaves them, in its ledger and in its tables.

No verdict may enter: `completeness.py` puts them together.
"""
