"""What is special about a Postgres server: addresses as libpq takes them, and what a session needs of a database.

No dlt may enter, and no table's name.
"""
