"""Small sabotages of the code, each with the tests that must notice: `python -m tests.lab.mutants [NAME]…`."""
