"""How we say "since": walks, rounds over parents, the ledger of what is proven, and the edge to dlt."""
