"""README.md and the pages beside the code say what is true, and their commands run."""
