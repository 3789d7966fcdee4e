"""What commands have in common: the options that all spell alike, and what is settled before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines import json_logs
from gapless.pipelines.cli import completion, output
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.sources._incremental.shard import Shard

NAMES = ", ".join(SOURCES)

Destination = Annotated[
    str,
    typer.Option(
        help="duckdb, or any destination configured for dlt, by its name.", autocompletion=completion.destinations
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OneSource = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help=f"One of {NAMES}.", show_default=False, autocompletion=completion.sources),
]


def begin(destination: str, shard: Shard | None = None, accept_append: bool = False) -> Target:
    from gapless.pipelines.destinations.target import Target

    initialise()
    return Target.find(destination, shard, accept_append)


def initialise() -> None:
    """Settings and the net under the keys, before anything is asked."""
    from gapless.pipelines import redaction
    from gapless.pipelines.config import apply_dlt_defaults
    from gapless.pipelines.sync.build import check_register

    apply_dlt_defaults()
    check_register()
    redaction.register_secrets()
    redaction.guard_logs()
    json_logs.guard()


def configured() -> list[str]:
    """The sources that have credentials; the others are told of. Raises WrongSettings when there is none."""

    from gapless.pipelines.sync import build

    ready, lacking = build.configured()
    if not ready:
        raise build.nothing_configured()
    for name, missing in lacking.items():
        output.say(f"{name}: left out, {', '.join(missing)} not set", event="left_out", source=name)
    return ready
