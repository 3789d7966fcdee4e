"""The commands that erase on purpose: `forget` a person or a record, `keep` nothing that is older."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gapless.pipelines.cli import output
from gapless.pipelines.cli.options import (
    Destination,
    Json,
    OneSource,
    Yes,
    confirm,
    initialise,
    known_here,
    open_target,
)
from gapless.pipelines.errors import GaplessError, WrongSettings
from gapless.pipelines.printable import counted, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.erasure.forget import Forgotten

Id = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="Id of a parent, with all its records, or of one record.")
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN=VALUE", help="All records that have a value in a column, of their own or of a row below them."
    ),
]
Table = Annotated[str | None, typer.Option(metavar="TABLE", help="The table that the id is of, if several have it.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Who asked for it and why; kept in `erasures`.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would be erased, and change nothing.")]
NoCompact = Annotated[
    bool, typer.Option("--no-compact", help="Leave bytes of deleted rows in the database, until gapless compact.")
]
UNFINISHED = "an earlier erasure was not finished: the database is compacted now, and its copy published again"
Time = Annotated[str, typer.Argument(metavar="TIME", help="How long records are kept: 400d, 60w or 36h.")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    for command in (forget, keep):
        app.command()(command)


def forget(
    source: OneSource,
    id_: Id = None,
    where: Where = None,
    table: Table = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_compact: NoCompact = False,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Erase a person or a record for good: no later sync, repair, backfill or copy brings it back.

    Examples: [bold]gapless forget SOURCE --id ID[/bold] ·
    [bold]gapless forget SOURCE --where email=somebody@example.com[/bold]

    Rows, what is below them and what the ledger says of them are deleted. A keyed digest stays, which names nobody;
    its key is GAPLESS_ERASURE_KEY. Sends no request to a vendor: what the vendor has, stays there.
    """
    from gapless.pipelines.erasure import forget as erasure

    if (id_ is None) == (where is None):
        raise WrongSettings("say what to forget: --id ID or --where COLUMN=VALUE, one of them.")
    target = open_target(destination, again=True)
    (name,) = known_here(target, [source])
    named = erasure.Named(name, id_, table, where)
    found = erasure.preview(target, named, finish=not (dry_run or no_compact))
    if found.unfinished:
        output.print_message(f"nothing of {name} matches; {UNFINISHED}")
    elif not dry_run:
        output.print_message(f"{name}: {_described(found.rows)}")
        confirm(yes, f"Forget {counted(found.records, 'records')} of {name} for good?")
        found = erasure.forget(target, named, reason)
        initialise(again=True)  # the key may be a new one, and is a secret
    compacted = not (dry_run or no_compact) and _compacted(target, name)
    _print_forgotten(target, name, found, compacted, dry_run, as_json)


def _compacted(target: Target, name: str) -> bool:
    """Writes the database anew, as deleted rows stay in its bytes; returns whether that could be done."""
    from gapless.pipelines.maintenance.compact import compact

    try:
        done = compact(target, [name])
        if done and done.left:
            output.print_message(done.left, level="warning")
        return done is not None and not done.left
    except GaplessError as error:
        output.print_message(
            f"the rows are deleted; bytes of them are still in the database ({error}): gapless compact removes them",
            level="warning",
        )
        return False


def _print_forgotten(
    target: Target, name: str, found: Forgotten, compacted: bool, dry_run: bool, as_json: bool
) -> None:
    if found.key_file:
        output.print_message(
            f"the key of what is forgotten was made and written into {found.key_file} ([gapless] erasure_key): keep"
            " it, and give it to every machine that syncs; without it no sync begins"
        )
    if found.warning:
        output.print_message(f"{name}: {found.warning}", level="warning")
    if as_json:
        content = {
            "source": name,
            "destination": target.destination,
            "dry_run": dry_run,
            "warning": found.warning,
            "kind": found.kind,
            "parents": found.parents,
            "records": found.records,
            "rows": found.rows,
            "compacted": compacted,
            "key_file": found.key_file,
            "next": _next_steps(target),
        }
        output.print_json("forget", content)
        return
    output.print_results(f"{name}: {'would forget' if dry_run else 'forgotten'}: {_described(found.rows)}")
    if not dry_run:
        output.print_message(*(f"if there are copies: {step}" for step in _next_steps(target)))


def _next_steps(target: Target) -> list[str]:
    """Returns the commands after which copies hold nothing of it either."""
    return (
        ["gapless copy --to NAME && gapless compact --destination NAME", "gapless publish PATH"]
        if target.file
        else []
    )


def keep(
    source: OneSource,
    time: Time,
    reason: Reason = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_compact: NoCompact = False,
    destination: Destination = "duckdb",
    as_json: Json = False,
) -> None:
    """Erase the records that were created longer ago than TIME, and keep later syncs from reading them again.

    Example: [bold]gapless keep SOURCE 400d[/bold] · before each sync: SOURCE_KEEP=400d

    coverage.covered_from says from when on records are kept. Sends no request to a vendor.
    """
    from gapless.pipelines.erasure import keep as retention
    from gapless.pipelines.erasure.unfinished import unfinished

    target = open_target(destination)
    (name,) = known_here(target, [source])
    kept = retention.parsed(name, time)
    before, rows = retention.keep(target, name, kept, reason, dry=True)
    if not dry_run:
        output.print_message(f"{name}: older than {before:%Y-%m-%d %H:%M} UTC: {_described(rows)}")
        confirm(yes, f"Erase the records of {name} that are older than {quoted(time)}?")
        before, rows = retention.keep(target, name, kept, reason, dry=False)
    compacted = False
    if not (dry_run or no_compact):
        left = not rows and bool(unfinished(target, [name]))
        if left:
            output.print_message(f"nothing of {name} is older; {UNFINISHED}")
        compacted = bool(rows or left) and _compacted(target, name)
    if as_json:
        content = {"source": name, "destination": target.destination, "dry_run": dry_run, "kept_from": before}
        output.print_json("keep", {**content, "rows": rows, "compacted": compacted, "next": _next_steps(target)})
        return
    done = "would erase" if dry_run else "erased"
    output.print_results(f"{name}: {done} what is older than {before:%Y-%m-%d %H:%M} UTC: {_described(rows)}")


def _described(rows: Mapping[str, int]) -> str:
    """Returns the rows by table as one text."""
    return ", ".join(f"{number:,} of {table}" for table, number in rows.items()) or "no row"
