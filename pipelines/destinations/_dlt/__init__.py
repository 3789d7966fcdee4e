"""The door to dlt's insides: the only files of pipelines/ that import below dlt's documented surface.

Documented are `dlt`, `dlt.sources` and `dlt.destinations`. Each file says for each entry what it does, why it is
needed and what would replace it. test_dlt_canaries.py in tests/unit has one canary for each; test_dlt_door.py keeps
such imports out of all other files. The door of sources/ is sources/_dlt/internals.py. Nothing else may enter.
"""
