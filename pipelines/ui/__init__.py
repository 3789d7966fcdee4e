"""The web page of `gapless ui`: guard.py lets in who may look, address.py reads what is asked for, queries.py asks
the database, each module of views/ fetches what one view shows, and templates/ draw it.

It reads the views of the schema `activity` and the ledger; no request to a vendor and no write may enter.
"""
