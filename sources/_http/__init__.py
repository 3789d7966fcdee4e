"""HTTP to a vendor: one client with key, rate limit, retries, deadline and a check of each answer; and fake vendors.

No vendor, record, table, query parameter or field name may enter; nothing outside this folder is imported.
"""
