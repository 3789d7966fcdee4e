"""What commands have in common: the options that all spell alike, and what is settled before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import completion, ending, logs
from sources import SOURCES

if TYPE_CHECKING:
    from pipelines.place import Place
    from sources._sync.shard import Shard

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


def begin(destination: str, shard: Shard | None = None, accept_append: bool = False) -> Place:
    from pipelines.place import Place

    settled()
    return Place.find(destination, shard, accept_append)


def settled() -> None:
    """Settings and the net under the keys, before anything is asked."""
    from pipelines import secrets
    from pipelines.place import settle

    settle()
    secrets.learn()
    secrets.guard_logs()
    logs.guard()


def configured() -> list[str]:
    """The sources that have credentials; the others are told of. Raises WrongSettings when there is none."""
    from pipelines import choose

    ready, lacking = choose.configured()
    if not ready:
        raise choose.nothing_configured()
    for name, missing in lacking.items():
        ending.say(f"{name}: left out, {', '.join(missing)} not set", event="left_out", source=name)
    return ready
