"""Ends an idle sync without a load package: all that it writes is when the vendor was asked.

A statement changes the rows of `coverage` in place, so they stay rows of the load that proved them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapless.pipelines.destinations.reader import PipelineReader, Reader
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.evidence.stored_state import source_state
from gapless.sources import Source
from gapless.sources._ledger.session import Session, Unchanged

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.types import SqlClient

IN_LIST = 500
"""Parents in one statement."""


def note_unchanged(pipeline: dlt.Pipeline, source: Source, session: Session) -> None:
    """Reads what is new and, if that is nothing, notes when it was asked for: then the session is done.

    Otherwise what was read waits in the session for a load package. A sync of a part never ends here, and nothing is
    read where a package must come: before the first load, and when a table or a column is to be added.
    """
    part = session.scope is not None or not session.shard.whole
    if part or not backend_of(pipeline).updates_rows or session.look is None:
        return
    if not pipeline.destination.capabilities().supports_tz_aware_datetime:
        return  # its times are texts, and no row would look the same
    with PipelineReader(pipeline).connected() as reader:
        state = source_state(reader, source)
        if state is None or not _is_whole(reader, source):
            return
    found = session.look(pipeline.destination.destination_type, state)
    if found:
        with pipeline.sql_client() as client:
            for one in found:
                _update(client, one)


def _is_whole(reader: Reader, source: Source) -> bool:
    """Returns whether every table and column is there, each by its plain name."""
    from gapless.sources._extract.resource import shapes
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    needed = {shape.name: shape for shape in shapes((*source.tables, COVERAGE, DEAD_LETTERS, RUNS))}
    prefixed = f"{source.name}_{COVERAGE.name}"
    real = reader.columns(source.name, [*needed, prefixed])
    there = ({column.name for column in shape.columns} <= {*real.get(name, ())} for name, shape in needed.items())
    return prefixed not in real and all(there)


def _update(client: SqlClient, unchanged: Unchanged) -> None:
    if not unchanged.times:  # a clock that stands still tells no later time
        return
    table = client.make_qualified_table_name("coverage")
    changes = ", ".join(f"{client.escape_column_name(name)} = %s" for name, _ in unchanged.times)
    values = [value for _, value in unchanged.times]
    for begin in range(0, len(unchanged.parents), IN_LIST):
        some = unchanged.parents[begin : begin + IN_LIST]
        where = f"stream = %s and parent in ({', '.join(['%s'] * len(some))})"
        client.execute_sql(f"update {table} set {changes} where {where}", *values, unchanged.stream, *some)
