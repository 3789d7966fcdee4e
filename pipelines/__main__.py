"""`python -m gapless.pipelines` is `gapless`."""

from gapless.pipelines.cli.app import main

main()
