"""What an engine's own catalog says of tables that somebody else changed, and the statement that ends each obstacle.

No source and no row of its tables may enter; a file here knows one kind of engine.
"""
