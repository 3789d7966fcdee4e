"""Erases on purpose: a person, a record, what is older than is kept. It stays so, and no alarm comes of it.

No request to a vendor may enter. What keeps the erased out of later syncs stands in `sources/_ledger/erasure`.
"""
