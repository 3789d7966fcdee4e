"""Compares a destination with its vendors, and estimates what a sync will cost; both ask the vendors.

No vendor's name may enter, and nothing is written here: a repair is a sync.
"""
