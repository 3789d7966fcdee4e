"""The near side: when, how much, where to, and is it well. Imports `sources`, never the other way round."""
