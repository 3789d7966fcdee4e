"""What was erased on purpose, so that no later reading brings it back: tombstones, and the key that they need.

No statement that deletes may enter: `pipelines/erasure` has those.
"""
