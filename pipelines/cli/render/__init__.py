"""Turns results into tables and lines for people.
Prints nothing itself; no request and no query may enter.
"""
