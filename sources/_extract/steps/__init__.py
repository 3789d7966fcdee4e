"""The steps of a resource's pipe: between the first, `ToColumns`, and the last, `Settle`, are the user's own.

Nothing about HTTP, vendors or what is new may enter.
"""
