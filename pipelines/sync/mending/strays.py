"""Puts rows of the ledger in order that no sync has written as they are: no sync would ever close or replace them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.evidence.emptied import KINDS as LOSS_KINDS
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.proofs import intervals
from gapless.pipelines.printable import counted
from gapless.pipelines.sync.mending.tables import remove_doubled
from gapless.sources import Source
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RESET
from gapless.sources._schema.arrow import digest

if TYPE_CHECKING:
    import dlt

    from gapless.pipelines.destinations.reader import Rows
    from gapless.sources._dlt.types import SqlClient


KINDS = ("record", "nameless", "parent")
"""The kinds of dead letters that a sync closes."""


def tidy_ledger(pipeline: dlt.Pipeline, source: Source) -> list[str]:
    """Gives rows back what can be known of them, and deletes the others; returns a message for each kind.

    Call it after `mend_tables`.
    """
    if not backend_of(pipeline).updates_rows:
        return []
    streams = [table.name for table in source.tables]
    listed = ", ".join(f"'{stream}'" for stream in streams)
    kinds = ", ".join(f"'{kind}'" for kind in KINDS)
    losses = ", ".join(f"'{kind}'" for kind in LOSS_KINDS)
    with PipelineReader(pipeline).connected() as raw:
        reader = Known(raw, source)
        unique = backend_of(pipeline).refuses_doubled(raw, source.name, COVERAGE.name)

        def rows(select: str, table: str) -> Rows:
            return reader.rows(source.name, select, table) or []

        # The proof of a listing names no parent.
        named = "" if source.stream.column else " or parent <> ''"
        strange = rows(f"select {ROW_ID} from {{0}} where stream not in ({listed}){named}", COVERAGE.name)
        strange += _of_unknown_parents(reader, source)
        noted = rows(f"select {ROW_ID}, missing from {{0}} where missing is not null", COVERAGE.name)
        where = f"kind not in ({losses}) and (stream not in ({listed}) or kind not in ({kinds}))"
        letters = rows(f"select {ROW_ID}, key from {{0}} where {where}", DEAD_LETTERS.name)
    # A sync that wrote a proof anew left the one whose parent somebody changed beside it, by the same id.
    doubled = remove_doubled(pipeline, source, [] if unique else [COVERAGE.name])
    unread = [(row,) for row, cell in noted if intervals(cell) is None]
    if not (strange or unread or letters):
        return doubled
    with pipeline.sql_client() as client:
        _delete(client, COVERAGE.name, strange)
        _set_back(client, unread)
        _delete(client, DEAD_LETTERS.name, list(_left(client, streams, letters)))
    return [*doubled, *_messages(source, len(strange) + len(unread), len(letters))]


def _of_unknown_parents(reader: Known, source: Source) -> Rows:
    """Returns the `_dlt_id` of proofs whose parent was never listed, nor is the one that they were written for."""
    if source.stream.parents is None:
        return []
    listing = source.stream.parents.table
    listed = f"p.{listing.id_column}"
    unlisted = (
        f"select c.{ROW_ID}, c.parent from {{0}} c left join {{1}} p on c.parent = cast({listed} as varchar)"
        f" where c.stream = '{source.main.name}' and c.parent <> '' and {listed} is null"
    )
    found = reader.rows(source.name, unlisted, COVERAGE.name, listing.name) or []
    return [(row,) for row, parent in found if digest(source.main.name, parent) != row]


def _delete(client: SqlClient, table: str, rows: Rows) -> None:
    for row, *_ in rows:
        client.execute_sql(f"delete from {client.make_qualified_table_name(table)} where {ROW_ID} = %s", row)


def _set_back(client: SqlClient, rows: Rows) -> None:
    """Sets proofs back of which nobody can tell what they miss."""
    time = RESET if client.capabilities.supports_tz_aware_datetime else f"{RESET:%Y-%m-%d %H:%M:%S.%f}"
    change = "missing = null, covered_to = %s, digest = null, last_checked_at = null"
    for (row,) in rows:
        table = client.make_qualified_table_name(COVERAGE.name)
        client.execute_sql(f"update {table} set {change} where {ROW_ID} = %s", time, row)


def _left(client: SqlClient, streams: list[str], letters: Rows) -> Iterator[tuple[str]]:
    """Gives letters the stream and the kind back by which they were loaded; yields those without."""
    table = client.make_qualified_table_name(DEAD_LETTERS.name)
    for row, key in letters:
        for stream, kind in product(streams, KINDS):
            if digest(stream, kind, key) == row:
                client.execute_sql(
                    f"update {table} set stream = %s, kind = %s where {ROW_ID} = %s", stream, kind, row
                )
                break
        else:
            yield (row,)


def _messages(source: Source, proofs: int, letters: int) -> Iterator[str]:
    end = "what they were about is read again; this is said once"
    if proofs:
        yield f"{source.name}.{COVERAGE.name}: {counted(proofs, 'rows')} that no sync wrote so: {end}"
    if letters:
        yield f"{source.name}.{DEAD_LETTERS.name}: {counted(letters, 'rows')} that no sync wrote so: {end}"
