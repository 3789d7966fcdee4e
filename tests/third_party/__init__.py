"""Programs that nobody here wrote, between gapless and a vendor: tests with the mark `peer` need them from npm."""
