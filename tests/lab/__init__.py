"""The fault laboratory and the mutants, and the sample of them that runs with the tests."""
