"""The scenario laboratory: whatever a vendor, an operator or a clock does, nothing claims to be complete that is not.

`python -m tests.lab.scenarios --help`; `bends.py` has what a vendor does, `histories` longer stories, `stage.py`
how claims are held against the vendor's truth.
"""
