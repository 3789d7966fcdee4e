"""Records, columns and types by themselves: `sources/_schema`."""
