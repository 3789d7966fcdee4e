"""The tests, by room; what several rooms need stands in `support`."""
