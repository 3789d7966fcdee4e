"""Mends what somebody did to the tables of a source, before it is synced: missing tables and columns, doubled rows.

What is made again is empty, so the source's proofs are set back first: a sync that is killed in between finds them
set back, and the damage still there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._catalogs.other_vendor import require_vendor
from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.errors import GaplessError
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.rows.counts import RowCounts, count_doubled
from gapless.pipelines.evidence.structure import OWN, Damage, damages, obstacles, refusal, table_names
from gapless.pipelines.sync.mending.losses import aside_name, keep_watermarks, losses, write_notes
from gapless.sources import Source
from gapless.sources._dlt.tables import LOAD_ID, ROOT_ID, ROW_ID, SCHEMAS, STATES, forget_schemas
from gapless.sources._ledger.ledger import COVERAGE, LOSSES, RESET, RUNS
from gapless.sources._schema.arrow import digest

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.types import SqlClient

HARMLESS = ("runs", SCHEMAS)
"""Tables whose loss says nothing about records. The loss of any other one sets the source back."""
OF_ROUNDS = {"scope": "varchar", "shard": "varchar"}
"""Columns of `runs` that say what a sync asked for, with their types: without one no older run counts as a round."""
UNKNOWN = "unknown"
"""The scope of a run of which nobody knows any more what it asked for."""


def mend_tables(pipeline: dlt.Pipeline, commands: Commands) -> list[str]:
    """Has dlt make again what is missing, and sets the source's proofs back; returns a message for each damage.

    Call `require_writable` before.
    """
    if backend_of(pipeline).appends:
        return []
    source = commands.source
    with PipelineReader(pipeline).connected() as reader:
        found = damages(reader, source)
        if not found:
            return []
        real = reader.columns(source.name, table_names(source))
        aside = [one for one in found if one.columns and not _addable(source, one)]
        again = any(damage.table not in HARMLESS for damage in found)
        notes = losses(reader, source, found, aside) if again else []
        real |= reader.columns(source.name, [LOSSES])
    with pipeline.sql_client() as client:
        # First of all, as the counts that they are made of are forgotten then.
        keep_watermarks(client, source, notes, real)
        write_notes(client, notes, real)
        if again:
            _set_back(client, real, walks=source.stream.walks)
        for damage in aside:
            _set_aside(client, damage, pipeline.destination.destination_type)
            real.pop(damage.table, None)
        for damage in found:
            if damage.table == RUNS.name and damage not in aside and {*damage.columns} & OF_ROUNDS.keys():
                _forget_rounds(client, damage.columns)
        if any(damage.unreadable and damage.table == STATES for damage in found):
            _delete_unreadable(client, source)
        if SCHEMAS in real:
            client.execute_sql(forget_schemas(client.make_qualified_table_name(SCHEMAS)))
    gaps = commands.typed(f"gaps {source.name}")
    return [
        f"{source.name}: {damage}: it is made again and all is read again; this is said once, and `{gaps}` says what"
        " is still missing"
        for damage in found
    ]


def require_writable(pipeline: dlt.Pipeline, source: Source) -> None:
    """Raises GaplessError, with what ends it, when a table was changed so that it cannot be written.

    Raises OtherVendor when the tables are those of another vendor.
    """
    if backend_of(pipeline).appends:
        return
    with PipelineReader(pipeline).connected() as reader:
        require_vendor(reader, source.name)
        _require_writable(reader, pipeline, source)


def _require_writable(reader: PipelineReader, pipeline: dlt.Pipeline, source: Source) -> None:
    if blocked := obstacles(reader, source, backend_of(pipeline)):
        raise GaplessError(refusal(blocked))


def _set_back(client: SqlClient, real: dict[str, set[str]], *, walks: bool) -> None:
    """Sets every proof back, and forgets the row counts: all is read again, so no row counts as lost.

    Without `walks` the missing intervals are lost ones, which stay told.
    """
    time = RESET if client.capabilities.supports_tz_aware_datetime else f"{RESET:%Y-%m-%d %H:%M:%S.%f}"
    values = {"covered_to": time, "digest": None, "last_checked_at": None, **({"missing": None} if walks else {})}
    # One of these columns may be what is missing.
    known = {name: value for name, value in values.items() if name in real.get("coverage", ())}
    if known:
        changes = ", ".join(f"{name} = {'null' if value is None else '%s'}" for name, value in known.items())
        given = [value for value in known.values() if value is not None]
        client.execute_sql(f"update {client.make_qualified_table_name('coverage')} set {changes}", *given)
    if "held" in real.get("runs", ()):
        client.execute_sql(
            f"update {client.make_qualified_table_name('runs')} set held = null where held is not null"
        )


def _delete_unreadable(client: SqlClient, source: Source) -> None:
    """Deletes the states that cannot be read: the newest one of the others is restored, and all is read again."""
    from gapless.pipelines.destinations._dlt.runtime import stored_source_state

    table = client.make_qualified_table_name(STATES)
    for load, state in client.execute_sql(f"select {LOAD_ID}, state from {table}") or ():
        if stored_source_state(str(state), source.name) is None:
            client.execute_sql(f"delete from {table} where {LOAD_ID} = %s", load)


def _forget_rounds(client: SqlClient, columns: Iterable[str]) -> None:
    """Lets no run of a table that lacks these columns count as a sync of all that is new."""
    runs = client.make_qualified_table_name(RUNS.name)
    with client.begin_transaction():
        for column in {*columns} & OF_ROUNDS.keys():
            client.execute_sql(
                f"alter table {runs} add column {client.escape_column_name(column)} {OF_ROUNDS[column]}"
            )
        client.execute_sql(f"update {runs} set scope = %s where scope is null", UNKNOWN)


def _addable(source: Source, damage: Damage) -> bool:
    """Returns whether the missing columns may be null: then dlt adds them, and reading again fills them."""
    from gapless.sources._extract.resource import shapes
    from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS

    if damage.table in OWN:
        return False
    (shape,) = (one for one in shapes((*source.tables, COVERAGE, DEAD_LETTERS, RUNS)) if one.name == damage.table)
    nullable = {column.name for column in shape.columns if column.nullable}
    return set(damage.columns) <= nullable


def _set_aside(client: SqlClient, damage: Damage, kind: str) -> None:
    """Drops a table without a column that every row needs, and keeps its rows under another name."""
    table = client.make_qualified_table_name(damage.table)
    aside = client.make_qualified_table_name(f"{damage.table}{aside_name(damage)}")
    # If an earlier attempt was killed before it dropped the table, its copy stays.
    client.execute_sql(f"create table if not exists {aside} as select * from {table}")
    # On Postgres our own views go along; one of somebody else's would have been an obstacle (`require_writable`).
    client.execute_sql(f"drop table {table}{' cascade' if kind.endswith('postgres') else ''}")


def remove_doubled(pipeline: dlt.Pipeline, source: Source, tables: Iterable[str]) -> list[str]:
    """Removes all but one of the rows with the same `_dlt_id`; returns a message for each table that had some."""
    if not backend_of(pipeline).updates_rows:
        return []
    messages = []
    for table, rows in count_doubled(PipelineReader(pipeline), source, tables).items():
        # The place of a row is all that tells it from its double.
        address = "ctid" if pipeline.destination.destination_type.endswith("postgres") else "rowid"
        with pipeline.sql_client() as client:
            name = client.make_qualified_table_name(table)
            if table == COVERAGE.name:
                _delete_strange_proofs(client, name)
            kept = f"select max({address}) from {name} group by {ROW_ID}"
            client.execute_sql(f"delete from {name} where {address} not in ({kept})")
        messages.append(f"{source.name}.{table}: {rows:,} rows stood there twice; the second ones were removed")
    return messages


def _delete_strange_proofs(client: SqlClient, table: str) -> None:
    """Deletes, of proofs with one id, those whose stream or parent somebody changed: a sync wrote the others."""
    twice = f"select {ROW_ID} from {table} group by 1 having count(*) > 1"
    rows = client.execute_sql(f"select {ROW_ID}, stream, parent from {table} where {ROW_ID} in ({twice})") or ()
    for row, stream, parent in rows:
        if digest(stream, parent) != row:
            delete = f"delete from {table} where {ROW_ID} = %s and stream = %s and parent = %s"
            client.execute_sql(delete, row, stream, parent)


def delete_orphans(client: SqlClient, source: Source, counts: RowCounts) -> None:
    """Deletes child rows whose root row is missing, otherwise a merge would insert duplicates of them."""
    for table in source.tables:
        root = client.make_qualified_table_name(table.name)
        for schema in table.schema.tree():
            if schema.parent and schema.name in counts:
                # Below a table that is made again every row is an orphan.
                orphaned = f"{ROOT_ID} not in (select {ROW_ID} from {root})" if table.name in counts else "1 = 1"
                client.execute_sql(f"delete from {client.make_qualified_table_name(schema.name)} where {orphaned}")
