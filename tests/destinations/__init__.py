"""Where records go: the DuckDB file, Postgres, parquet files, and dlt's own tools on them."""
