"""Tests that need an extra of their own installed; not in the default run: `pytest tests/integrations/test_….py`."""
