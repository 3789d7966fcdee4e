"""The sources in a dlt pipeline of one's own, used as dlt's documentation uses a source."""
