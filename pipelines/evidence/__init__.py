"""What a destination itself shows of completeness: proofs, dead letters, row counts, tables, and the verdict on it.

No request to a vendor and no command may enter. Whoever asks "is it complete?" asks `completeness.py`.
"""
