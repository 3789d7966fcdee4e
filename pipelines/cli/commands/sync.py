"""The commands that read from the vendors: `sync` and `backfill`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines.cli import completion, output, report
from gapless.pipelines.cli.options import (
    NAMES,
    Destination,
    Json,
    OneSource,
    open_target,
    print_doubled,
    sources_to_sync,
)
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.observability import telemetry
from gapless.sources import SOURCES, reread

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.observability.webhook import Webhook
    from gapless.pipelines.outcome import Outcome
    from gapless.pipelines.sync.request import SyncRequest
    from gapless.sources._ledger.session import Session

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help=f"{NAMES}. Default: every source that has credentials.",
        autocompletion=completion.sources,
    ),
]
Every = Annotated[str | None, typer.Option(metavar="INTERVAL", help="Repeat every 30s, 15m, 2h …, until Ctrl-C.")]
SyncSince = Annotated[
    str | None, typer.Option(metavar="TIME", help="Read again the records created at or after TIME (ISO 8601).")
]
SyncUntil = Annotated[
    str | None, typer.Option(metavar="TIME", help="Read again the records created before TIME (ISO 8601).")
]
Ids = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="Read again one record, or one parent where records are read by parent. Needs one source; repeatable.",
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(metavar="K/N", help="Read part K of N of the parents; all N parts may run at the same time."),
]
AcceptAppend = Annotated[
    bool,
    typer.Option("--accept-append", help="Allow a destination that cannot update rows: each change adds a row."),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="End with 1 in place of 3, for a scheduler that knows only success and failure."),
]
Since = Annotated[str, typer.Option(metavar="TIME", help="Read records created at or after TIME (ISO 8601).")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Read records created before TIME (ISO 8601).")]
Again = Annotated[bool, typer.Option("--again", help="Start over, even if this backfill is already finished.")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(sync)
    app.command()(backfill)


@dataclass(frozen=True)
class _Rounds:
    """The same sync, once or again and again: what is read, where it goes, who watches, and how it is reported."""

    names: list[str]
    target: Target
    request: SyncRequest
    as_json: bool
    watcher: telemetry.Watcher
    hook: Webhook | None
    strict: bool = False
    """Ends with 1 where it would end with 3."""
    command: str = "sync"
    hosts: dict[str, str] = field(default_factory=dict)
    """The host of each source's key, as it was printed."""
    failed: list[Outcome] = field(default_factory=list)
    """Outcomes of sources that failed before, and cannot be synced for want of settings."""

    def print_hosts(self) -> None:
        """Prints where keys go that do not go to the vendor's usual host, once, and again when that has changed."""
        from gapless.pipelines.sync import build

        for name, host in build.hosts_of_choice(self.names):
            if self.hosts.get(name) != host:
                text = f"{name}: its key is sent to {host}"
                output.print_message(text, event="host", source=name, host=host)
            self.hosts[name] = host

    def run_once(self) -> int:
        """Syncs every source once, prints the report and returns the exit code."""
        from gapless.pipelines.observability import webhook

        self.print_hosts()
        with webhook.notifying(self.hook, self.target, output.print_message, strict=self.strict) as outcomes:
            for outcome in self._outcomes():
                outcomes.append(outcome)  # one by one: a round that breaks off is reported with what ended before
            outcomes.extend(self.failed)
            return report.print_outcomes(self.command, outcomes, as_json=self.as_json, strict=self.strict)

    def repeat_once(self, again: Callable[[_Rounds], _Rounds] | None = None) -> int:
        """Does as `run_once`, after the first round with what `again` makes of it from the settings of that moment.

        With --json a round that breaks off has a document, too; wrong settings in the first round end the command,
        which writes its own.
        """
        try:
            return (again(self) if again else self).run_once()
        except Exception as error:
            if self.as_json and (again or not isinstance(error, WrongSettings)):
                output.print_round_error(self.command, error)
            raise

    def _outcomes(self) -> Iterator[Outcome]:
        """Yields each outcome as soon as its source has ended; display and telemetry follow along."""
        from gapless.pipelines.cli import progress
        from gapless.pipelines.sync import run

        def start(name: str, session: Session) -> None:
            display.start(name, session)
            self.watcher.start(name, session)

        # The display ends first, so that a message about telemetry does not disturb its lines.
        with self.watcher.round(self.names), progress.displayed(output.err()) as display:
            for outcome in run.sync(self.names, self.target, self.request, start):
                display.end(outcome)
                self.watcher.end(outcome)
                yield outcome


def sync(
    sources: Sources = None,
    every: Every = None,
    since: SyncSince = None,
    until: SyncUntil = None,
    ids: Ids = None,
    shard: ShardOption = None,
    destination: Destination = "duckdb",
    accept_append: AcceptAppend = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Read what is new or changed from the vendors into the destination, and print what was loaded.

    Examples: [bold]gapless sync[/bold] · [bold]gapless sync SOURCE SOURCE[/bold] ·
    [bold]gapless sync --every 15m[/bold] · [bold]gapless sync SOURCE --since 2026-01-01 --until 2026-02-01[/bold] ·
    [bold]gapless sync SOURCE --id 5f1c…[/bold]

    An interrupted sync loses nothing: the next one continues where it stopped. --since and --until read a window
    again and do not move the watermarks. With --every and --json, each round prints one document on one line.

    Exit codes: 0 complete, 3 some parents or records failed (with --strict 1), 1 a source failed as a whole.
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.observability import webhook
    from gapless.pipelines.sync import build, loop
    from gapless.pipelines.sync.unknown import unknown_settings

    # Arguments first: a wrong one is said before any file is opened.
    interval = arguments.seconds(every) if every else None
    part = arguments.shard(shard, ids or [])
    target = open_target(destination, part, accept_append)
    # Names are checked before credentials, so that a misspelt source is not reported as one without keys.
    names = build.known(sources or [])
    request = arguments.sync_request(names, since, until, ids or [])
    said = set[str]()
    names, failed = (names, []) if names else sources_to_sync(target, said)
    for line in (*arguments.idle(names, target.shard), *arguments.append_only(target), *unknown_settings(names)):
        output.print_message(line)
        said.add(line)
    print_doubled(target, names, said)
    # Before the first request: a wrong webhook setting must not show only when a sync has failed.
    hook = webhook.configured()
    with telemetry.watching(target, output.print_message) as watcher:
        rounds = _Rounds(names, target, request, as_json, watcher, hook, strict, failed=failed)
        if interval is None:
            raise typer.Exit(rounds.run_once())
        warn = partial(output.print_message, event="error", level="error")

        def again(rounds: _Rounds) -> _Rounds:
            nonlocal names, failed
            # A key, a password or an account may have been changed in a file since the last round.
            reread()
            target = open_target(destination, part, accept_append, again=True)
            try:
                names, failed = (_left_of(sources), []) if sources else sources_to_sync(target, said)
            except WrongSettings as error:  # of a source that somebody is about to set up
                names = [name for name in names if name in SOURCES]
                if not names:
                    raise
                warn(" ".join(error.lines))
            for line in unknown_settings(names):
                output.print_message("" if line in said else line)
                said.add(line)
            print_doubled(target, names, said)
            return replace(rounds, names=names, failed=failed, target=target, hook=webhook.configured())

        later = partial(rounds.repeat_once, again)
        loop.repeat(rounds.repeat_once, later, interval, output.print_message, warn)


def _left_of(names: list[str]) -> list[str]:
    """Returns those of these sources that the settings still name, and says which not. Raises WrongSettings: none."""
    from gapless.pipelines.sync import build

    left = [name for name in names if name in SOURCES]
    for name in (name for name in names if name not in SOURCES):
        text = f"{name}: left out, the settings do not name it any more"
        output.print_message(text, event="left_out", level="warning", source=name)
    return build.known(left or names)


def backfill(
    source: OneSource,
    since: Since,
    until: Until,
    again: Again = False,
    destination: Destination = "duckdb",
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Read a window of time again, and remember the progress: after an interruption it continues where it stopped.

    Example: [bold]gapless backfill SOURCE --since 2025-01-01 --until 2026-01-01[/bold]

    A backfill may read much more than its window; gapless plan estimates the cost. It does not move the watermarks.
    """
    from gapless.pipelines.cli import arguments
    from gapless.pipelines.ledger import backfills
    from gapless.pipelines.observability import webhook
    from gapless.pipelines.sync import build

    (name,) = build.known([source])
    request = backfills.sync_request(arguments.time(since, "--since"), arguments.time(until, "--until"))
    target = open_target(destination)
    before = backfills.saved_progress(target, name, request.window)
    # A scheduler that repeats the command must not read the whole window again each time.
    if before.done_at and not again:
        if as_json:
            output.print_json("backfill", {"done_at": before.done_at, "sources": []})
        finished = f"{before.done_at:%Y-%m-%d %H:%M} UTC"
        output.print_message(f"{name}: this backfill was finished at {finished}; --again starts it over")
        return
    output.print_message(before.resume_message(name) or "")
    hook = webhook.configured()
    with telemetry.watching(target, output.print_message) as watcher:
        rounds = _Rounds([name], target, request, as_json, watcher, hook, strict, "backfill")
        raise typer.Exit(rounds.run_once())
