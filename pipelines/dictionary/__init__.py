"""Describes what a database holds, for people and programs: the page of all tables, and dbt's file of sources.

No query and no description may enter: pipelines/views/descriptions.py has these.
"""
