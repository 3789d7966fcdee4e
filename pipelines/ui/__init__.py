"""The web page of `gapless ui`: queries.py reads the file, markup.py makes HTML, app.py is the marimo notebook.
It reads the views of the schema `activity`; no request to a vendor and no write may enter.
"""
