"""The walks and their state by themselves: `sources/_incremental` and `sources/_ledger`."""
