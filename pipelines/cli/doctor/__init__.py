"""Checks whether a sync can work: settings, keys, destination, lock, versions, clock. A failed check says what to do.

It sends one small request to each vendor, stores nothing, and shows no value of a setting. keys.py asks the vendors,
destination.py looks at the database through probe.py, machine.py at all around them, and doctor.py goes through all.
Nothing that changes a row may enter: what is tried is rolled back.
"""
