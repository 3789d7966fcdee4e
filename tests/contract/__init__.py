"""What every registered source promises, one promise a test. A source is described to it by its subject.py.

A source of a package of its own is held to the same: it brings `subject.py` beside its `fake.py`, and runs
`GAPLESS_SOURCES=acme.okta pytest tests/contract -k okta -m 'not peer'`. Without `-m` only the quick ones run.
"""
