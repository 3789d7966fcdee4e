"""The page's questions to a database: a DuckDB file, its published copy, or Postgres.

Neither HTML nor a statement that writes may enter.
"""
