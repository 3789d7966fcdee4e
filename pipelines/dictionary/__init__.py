"""Tells people and programs what a database holds: the page of all tables, and dbt's file of sources.

No query and no description may enter: pipelines/views/descriptions.py has these.
"""
