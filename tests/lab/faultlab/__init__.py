"""The fault laboratory: gapless as a black box, harmed on purpose, judged by the vendor's own records.

A trial is (source, destination, phase, fault): one run with the fault, then runs without it. What must come of it is
written beside the fault, as data. `python -m tests.lab.faultlab` runs the sweep and writes REPORT.md; a seeded sample
is part of the test suite (tests/lab/test_faultlab.py).
"""
