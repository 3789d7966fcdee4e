"""Whose rows a dataset holds: what is remembered of the account, and what proves that it is still the same one.

No request may enter: `_extract/account_proof.py` says which ones prove it.
"""
