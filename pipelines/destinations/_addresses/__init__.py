"""Reads what the settings have for a destination's address, before dlt makes something else of it.

No connection and no query may enter.
"""
