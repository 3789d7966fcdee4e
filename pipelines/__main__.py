"""`python -m pipelines` is `gapless`."""

from gapless.pipelines.cli.app import app

app()
