"""Writes the tables of a destination anew, so that no byte of a deleted row is left, for each kind of destination.

Neither dlt nor a vendor's name may enter; the locks are held by whoever calls.
"""
