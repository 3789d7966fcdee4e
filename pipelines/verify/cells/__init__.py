"""`verify --cells`: reads records again, makes columns of them as a sync does, and compares each cell.

What is missing as a whole is found by ids, outside of this folder; no such comparison may enter.
"""
