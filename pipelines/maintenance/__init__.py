"""Changes how rows that are here are kept: as a privacy policy says, and without a byte of what was deleted.

No request to a vendor may enter, nor any file format: each destination knows its own.
"""
