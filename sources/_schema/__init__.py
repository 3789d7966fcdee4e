"""Records as pydantic models, and the way from their JSON to one Arrow table per parent or child table.

No vendor, HTTP or destination may enter, except what a destination cannot store; only this folder is imported.
"""
