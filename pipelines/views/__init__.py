"""Makes the views of the schema `activity`: `sql/` has one file per view, the other files carry it to each engine.

No row is read or written here, and no vendor's name may enter: a view over all sources is made from the register.
"""
