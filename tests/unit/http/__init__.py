"""The HTTP client by itself: `sources/_http`."""
