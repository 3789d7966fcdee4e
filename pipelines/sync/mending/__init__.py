"""Mends what somebody did to the tables of a source by hand, and notes what nobody can bring back.

No request to a vendor may enter: what is to be read again, the sync reads.
"""
