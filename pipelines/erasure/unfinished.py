"""Lists the erasures that are not finished: rows are deleted, and bytes of them may be in the database or its copy.

The transaction that deletes notes it; the note goes when a compaction, and the copy after it, have ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._layouts.changing import changing
from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.erasure.tables import Tables
from gapless.pipelines.printable import quoted
from gapless.sources._ledger.erasure.tombstones import ERASED, UNCOMPACTED

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target

NOTES = f"select digest from {{0}} where kind = '{UNCOMPACTED}'"
Notes = dict[str, list[str]]
"""Ids of notes by source."""


def is_unfinished(tables: Tables) -> bool:
    """Returns whether an erasure of this dataset is not finished."""
    return tables.has(ERASED) and bool(tables.query(NOTES.format(tables.name(ERASED))))


def unfinished(target: Target, names: Iterable[str]) -> Notes:
    """Returns the erasures of these sources that are not finished. Raises Locked, NewerLayout, GaplessError."""
    if not target.backend.updates_rows:  # nothing can be erased there
        return {}
    with reading(target) as reader:
        return notes_of(reader, names)


def notes_of(reader: Reader, names: Iterable[str]) -> Notes:
    """Returns the erasures of these sources that are not finished, by a reader that is open."""
    if reader.appends:
        return {}
    found = {name: [str(row[0]) for row in reader.rows(name, NOTES, ERASED) or ()] for name in names}
    return {name: notes for name, notes in found.items() if notes}


def finishing(name: str, destination: str) -> str:
    """Returns the command that ends the erasures of a source."""
    return f"gapless compact {name}" + ("" if destination == "duckdb" else f" --destination {quoted(destination)}")


def sentence(name: str, destination: str) -> str:
    """Returns what an erasure that is not finished means, and the command that ends it."""
    what = "bytes of what was erased may still be in the database, or in its copy"
    return f"{name}: {what}: {finishing(name, destination)}"


def note_finished(target: Target, notes: Notes) -> None:
    """Takes these notes away, and none that came since. Raises Locked, GaplessError."""
    for name, digests in notes.items():
        with (
            changing(target, name, f"it could not be noted that the erasure of {name} is finished") as pipeline,
            pipeline.sql_client() as client,
        ):
            tables = Tables(pipeline, client)
            for where in tables.among("digest", digests):
                tables.delete(ERASED, where)
