"""The commands that change how rows are kept, and ask no vendor: `compact`, `privacy apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines.cli import output
from gapless.pipelines.cli.options import (
    Destination,
    Json,
    Sources,
    Yes,
    confirm,
    known_here,
    open_target,
    print_nothing_synced,
)
from gapless.pipelines.errors import COMPLETE, PARTIAL
from gapless.pipelines.printable import command

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.maintenance.compact import Compacted
    from gapless.pipelines.maintenance.privacy import Applied

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would change, and change nothing.")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(compact)
    group = typer.Typer(help="Bring rows that are here to today's privacy policy.", no_args_is_help=True)
    group.command()(apply)
    app.add_typer(group, name="privacy")


def compact(sources: Sources = None, destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Write the database anew: smaller, and with no byte of rows that were deleted. Changes no row.

    Example: [bold]gapless compact[/bold]

    A DuckDB file and a DuckLake are written as a whole, Postgres and SQLite by source. A DuckDB file needs as much
    free disk as its rows take. Sends no request to a vendor.
    """
    from gapless.pipelines.maintenance.compact import compact as write_anew

    target = open_target(destination, accept_append=True)
    done = write_anew(target, known_here(target, sources or []))
    _print_left(done)
    if as_json:
        content = {"destination": target.destination, "file": target.file, **_sizes(done)}
        output.print_json("compact", content)
    elif done:
        _print_compacted(target, done)
    else:
        print_nothing_synced(target)


def apply(
    sources: Sources = None,
    dry_run: DryRun = False,
    destination: Destination = "duckdb",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Bring rows that were loaded before to today's privacy policy, then compact: drop and hash what it names.

    Example: [bold]gapless privacy apply --dry-run[/bold]

    Rows, rows below them, unknown fields, dead letters and texts of errors of a source are changed in one
    transaction. What an earlier policy dropped or hashed cannot come back from here. Sends no request to a vendor.
    Exit codes: 0 all rows are as the policy says, 3 some values that it wants in clear are not here.
    """
    from gapless.pipelines.maintenance import privacy
    from gapless.pipelines.maintenance.compact import compact as write_anew

    target = open_target(destination, accept_append=True)
    names = known_here(target, sources or [])
    if not dry_run:
        confirm(yes, f"Change the rows of {', '.join(names) or 'all sources'} to today's policy, for good?")
    found = privacy.apply(target, names, dry_run=dry_run)
    done = write_anew(target, [one.source for one in found]) if found and not dry_run else None
    _print_left(done)
    code = PARTIAL if any(one.not_here for one in found) else COMPLETE
    lines = [_not_here(one, destination) for one in found if one.not_here]
    if as_json:
        content = {"dry_run": dry_run, "sources": [one.to_json() for one in found], **_sizes(done)}
        problems = [{"source": one.source, "message": _not_here(one, destination)} for one in found if one.not_here]
        output.print_json("privacy apply", content, code, problems)
    elif found:
        output.print_results(*(line for one in found for line in _changes(one, dry_run)), *lines)
        if done:
            _print_compacted(target, done)
    else:
        print_nothing_synced(target)
    raise typer.Exit(code)


def _print_left(done: Compacted | None) -> None:
    if done and done.left:
        output.print_message(done.left, level="warning")


def _changes(applied: Applied, dry_run: bool) -> list[str]:
    """Returns a line for each column with cells that were changed, or would be."""
    verb = "would be changed" if dry_run else "were changed"
    lines = [f"{applied.source}: {where}: {cells:,} cells {verb}" for where, cells in applied.cells.items()]
    return lines or [f"{applied.source}: all rows are as today's policy says"]


def _not_here(applied: Applied, destination: str) -> str:
    name = applied.source
    verify = command(destination, "verify", name, "--cells", "--repair")
    return (
        f"{name}: {', '.join(applied.not_here)}: an earlier policy left no clear values here. Where the vendor still"
        f" serves them, {verify} or {command(destination, 'backfill', name)} brings them back."
    )


def _sizes(done: Compacted | None) -> dict[str, object]:
    """Returns the keys of JSON about a compaction; of none only `published`."""
    sizes = {"bytes_before": done.before, "bytes_after": done.after} if done else {}
    return {**sizes, "published": done.published.file if done and done.published else None}


def _print_compacted(target: Target, done: Compacted) -> None:
    sizes = f"{done.before / 1e6:,.1f} MB before, {done.after / 1e6:,.1f} MB after"
    output.print_results(f"compacted: {target.file or target.destination}, {sizes}, in {done.seconds:.1f} s")
    if done.published:
        output.print_results(f"published: {done.published.file}, {done.published.bytes / 1e6:,.1f} MB")
