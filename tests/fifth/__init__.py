"""A fifth source, made by the recipe of sources/README.md alone, and the proof that nothing else need know of it."""
