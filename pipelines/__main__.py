"""`python -m pipelines` is `gapless`."""

from pipelines.cli import app

app()
