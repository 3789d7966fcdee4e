"""The damage laboratory: whatever somebody does to a database by hand is seen, mended by the command that is
named, and no alarm stays afterwards.

`python -m tests.lab.damage --help`; `kinds.py` has the damages, `trial.py` what is done after each.
"""
