"""Forgets a person, a record, or all that has a value in a column: finds it, deletes it, and leaves a tombstone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gapless.pipelines.destinations._layouts.changing import changing
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.erase import Deleted, as_erased, delete_rows, erase, tombstones_of
from gapless.pipelines.erasure.new_key import new_key, write_key
from gapless.pipelines.erasure.noted import note
from gapless.pipelines.erasure.selection import Selection, by_id, by_value
from gapless.pipelines.erasure.tables import Tables
from gapless.pipelines.erasure.unfinished import is_unfinished
from gapless.pipelines.errors import LostErasureKey, WrongSettings
from gapless.pipelines.printable import command
from gapless.sources import SOURCES, Source
from gapless.sources._ledger.erasure.key import SETTING, SHORTEST, LostKey, configured_key, require_key
from gapless.sources._ledger.erasure.tombstones import ERASED


@dataclass(frozen=True)
class Named:
    """What a user asks to forget of one source."""

    source: str
    id: str | None = None
    table: str | None = None
    """The table that `id` is of, where several have it."""
    where: str | None = None
    """COLUMN=VALUE, or TABLE.COLUMN=VALUE."""


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten, or would be."""

    kind: str
    parents: int = 0
    records: int = 0
    rows: Deleted = field(default_factory=dict)
    """Rows by table."""
    key_file: Path | None = None
    """The file into which the key of the tombstones was written, if it was made now."""
    unfinished: bool = False
    """Whether nothing matches, and a compaction after an earlier erasure has not ended."""
    warning: str | None = None
    """What may have been overlooked."""


def preview(target: Target, named: Named, *, finish: bool = False) -> Forgotten:
    """Returns what would be forgotten; changes nothing. Raises WrongSettings where nothing matches, Locked.

    With `finish`, nothing need match where an earlier erasure is not finished.
    """
    source = SOURCES[named.source]
    with opened(target, source) as tables:
        chosen = _found(tables, source, named)
        if chosen.is_empty and finish and is_unfinished(tables):
            return Forgotten(chosen.kind, unfinished=True, warning=chosen.warning)
        _require_some(source, chosen, target)
        key = new_key()  # for a look, any will do
        erased = as_erased(source, tombstones_of(source, chosen, key), key)
        rows = delete_rows(tables, source, chosen, erased, dry=True)
    return Forgotten(chosen.kind, len(chosen.parents), len(chosen.records), rows, warning=chosen.warning)


def forget(target: Target, named: Named, reason: str | None) -> Forgotten:
    """Forgets what is named. Raises WrongSettings where nothing matches, LostErasureKey, Locked, GaplessError."""
    source = SOURCES[named.source]
    with opened(target, source) as tables:
        chosen = _found(tables, source, named)
        _require_some(source, chosen, target)
        key, file = _key(tables, source)
        rows = erase(tables, source, chosen, key, reason)
        note(target, source.name, tables)
    return Forgotten(chosen.kind, len(chosen.parents), len(chosen.records), rows, file, warning=chosen.warning)


def _found(tables: Tables, source: Source, named: Named) -> Selection:
    if named.where is not None:
        return by_value(tables, source, named.where)
    return by_id(tables, source, named.id or "", named.table)


def _require_some(source: Source, found: Selection, target: Target) -> None:
    if found.is_empty:
        status = command(target.destination, "status")
        raise WrongSettings(
            f"nothing of {source.name} matches, so nothing was forgotten; {status} lists what is here.",
            *([f"{found.warning}."] if found.warning else []),
        )


def _key(tables: Tables, source: Source) -> tuple[str, Path | None]:
    """Returns the key of the tombstones, and the file it was written to if it is a new one."""
    stored = (
        tables.query(f"select digest from {tables.name(ERASED)} where kind = 'key'") if tables.has(ERASED) else []
    )
    try:
        if stored:
            return require_key(str(stored[0][0]), source.name), None
    except LostKey as error:
        raise LostErasureKey(str(error)) from None
    key = configured_key()
    if key is None:
        key = new_key()
        # Before the tombstones: they are worth nothing without it.
        return key, write_key(key)
    if len(key) < SHORTEST:
        raise WrongSettings(f"{SETTING} has {len(key)} characters and could be guessed; it needs {SHORTEST} or more.")
    return key, None


@contextmanager
def opened(target: Target, source: Source) -> Iterator[Tables]:
    """Yields the tables of a source in the locked target. Raises WrongSettings, Locked, NewerLayout, GaplessError."""
    if not target.backend.updates_rows:
        raise WrongSettings(
            f"{target.destination} is none of the destinations where rows can be erased for good: DuckDB, DuckLake,"
            " Postgres, SQLite."
        )
    if not target.backend.exists():
        raise WrongSettings(f"nothing synced yet into {target.file or target.destination}, so nothing can be erased.")
    with (
        changing(target, source.name, f"nothing of {source.name} was erased") as pipeline,
        pipeline.sql_client() as client,
    ):
        yield Tables(pipeline, client)
