"""Parts alone: no sync, no database, no command."""
