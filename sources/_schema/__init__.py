"""What a record is: a pydantic model, and the way from its JSON to Arrow tables. Knows no vendor, no HTTP."""
