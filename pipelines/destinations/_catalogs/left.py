"""Finds the datasets of accounts that left the settings, so that their rows are not out of sight.

An account is registered again for this process, to be read and never to be synced, if a registered vendor has such
tables. Of a source that is not registered any more only the name is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from gapless.pipelines.errors import NewerLayout
from gapless.sources import SOURCES, Source, add_left, vendors
from gapless.sources._dlt.tables import LOADS, SCHEMAS
from gapless.sources.register import NAME, STAGING, TAKEN

if TYPE_CHECKING:
    from gapless.pipelines.destinations._catalogs.obstacle import Asked


class Stored(Protocol):
    """Answers queries about a dataset, and tells which tables it has."""

    def rows(self, dataset: str, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns what `Reader.rows` says."""

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns what `Reader.columns` says."""


LEDGER = ("coverage", "dead_letters", "runs", LOADS, SCHEMAS)
"""Tables that every dataset of ours has from its first sync on."""
DATASETS = (
    "select table_schema from information_schema.tables where table_catalog = current_database()"
    f" and table_name in ({', '.join(map(repr, LEDGER))}) group by table_schema having count(*) = {len(LEDGER)}"
)
"""The query, in DuckDB and in Postgres, for the schemas with these tables, whoever made them."""
MADE = "select 1 from {0} where schema_name = '%s' limit 1"
"""The query for what dlt noted in a schema that it made by this name: a copy of another schema has that one's."""


def datasets(reader: Asked) -> list[str]:
    """Returns the schemas of a DuckDB or a Postgres database that have the ledger's tables."""
    return [str(name) for (name,) in reader.rows("activity", DATASETS) or ()]


def unnamed(names: Iterable[str]) -> list[str]:
    """Returns those of these datasets that could be an account's, and no setting names."""
    could_be = (name for name in names if NAME.fullmatch(name) and name not in TAKEN and not name.endswith(STAGING))
    return sorted(name for name in could_be if name not in SOURCES)


def take_in(names: Iterable[str], reader: Stored) -> list[str]:
    """Registers the accounts whose datasets these are, to be read; returns the datasets of no registered vendor."""
    return [name for name in unnamed(names) if _is_ours(name, reader) and not _registered(name, reader)]


def _is_ours(name: str, reader: Stored) -> bool:
    try:
        return bool(reader.rows(name, MADE % name, SCHEMAS))
    except NewerLayout:  # whose tables this version does not know
        return True


def _registered(name: str, reader: Stored) -> bool:
    """Registers the account of a dataset whose vendor is found by its tables; returns whether it was found."""
    try:
        vendor = vendor_of(reader, name)
    except NewerLayout:
        return False
    if vendor:
        add_left(name, vendor)
    return bool(vendor)


def vendor_of(reader: Stored, name: str) -> Source | None:
    """Returns the vendor most of whose tables a dataset has, its records' among them; None: none, or several."""
    tables = dict[Source, set[str]]()
    for source in vendors().values():
        with suppress(Exception):  # a package of a user's that cannot be imported; other commands say so
            tables[source] = {shape.name for table in source.tables for shape in table.schema.tree()}
    found = reader.columns(name, sorted({table for some in tables.values() for table in some})).keys()
    scores = {source: len(found & some) for source, some in tables.items() if source.main.name in found}
    best = [source for source, score in scores.items() if score == max(scores.values())]
    return best[0] if len(best) == 1 else None
