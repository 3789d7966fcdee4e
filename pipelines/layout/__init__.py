"""Brings the database of an older version, or of an older model, to today's layout, before its source is synced.

No request may enter, and nothing that a sync does otherwise: damage and proofs are of `pipelines/sync`.
"""
