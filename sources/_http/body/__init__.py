"""From the bytes of an answer to its records: decompression, decoding, and what becomes of records that are no JSON.

No request and no vendor may enter.
"""
