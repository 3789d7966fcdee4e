"""What the destination knows about a source: status, gaps, backfills, and the state that a command may set back.

No request to a vendor may enter: `verify` makes those.
"""
