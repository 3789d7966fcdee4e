"""The commands that change how rows are kept, and ask no vendor: `compact`."""

from __future__ import annotations

import typer

from gapless.pipelines.cli import output
from gapless.pipelines.cli.options import Destination, Json, Sources, open_target, print_nothing_synced


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command()(compact)


def compact(sources: Sources = None, destination: Destination = "duckdb", as_json: Json = False) -> None:
    """Write the database anew: smaller, and with no byte of rows that were deleted. Changes no row.

    Example: [bold]gapless compact[/bold]

    A DuckDB file and a DuckLake are written as a whole, Postgres and SQLite by source. A DuckDB file needs as much
    free disk as its rows take. Sends no request to a vendor.
    """
    from gapless.pipelines.maintenance.compact import compact as write_anew
    from gapless.pipelines.sync import build

    target = open_target(destination, accept_append=True)
    done = write_anew(target, build.known(sources or []))
    where = target.file or target.destination
    if as_json:
        sizes = {"bytes_before": done.before, "bytes_after": done.after} if done else {}
        published = done.published.file if done and done.published else None
        content = {"destination": target.destination, "file": target.file, **sizes, "published": published}
        output.print_json("compact", content)
    elif done:
        sizes_text = f"{done.before / 1e6:,.1f} MB before, {done.after / 1e6:,.1f} MB after"
        output.print_results(f"compacted: {where}, {sizes_text}, in {done.seconds:.1f} s")
        if done.published:
            output.print_results(f"published: {done.published.file}, {done.published.bytes / 1e6:,.1f} MB")
    else:
        print_nothing_synced(target)
