"""Upgrades the dataset of one source: types, columns, fields that stood in `_extra`, and the mark of the layout.

Each step may be killed and done again: the mark is written last, with the fields, in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._layouts.layout import COLUMNS, FIRST, Layout, read_layout, require_own
from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.evidence.policy import configured_policy
from gapless.pipelines.evidence.rows.below import fill_below, find_below
from gapless.pipelines.evidence.rows.counts import Held, count_rows, of_roots, read_held
from gapless.pipelines.evidence.structure import stored_columns, table_names
from gapless.pipelines.layout.columns import adapt, unnamed
from gapless.pipelines.layout.fields import move_fields
from gapless.sources import Source
from gapless.sources._dlt.tables import LOADS, is_completed
from gapless.sources._schema.layout import LAYOUT, LAYOUT_TABLE, shape_mark

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource

    from gapless.sources._dlt.types import SqlClient


def today(source: Source) -> Layout:
    """Returns the layout that this version and the source's models write."""
    from gapless.sources._extract.resource import shapes

    return Layout(LAYOUT, shape_mark(shapes(source.tables)))


def upgrade(pipeline: dlt.Pipeline, source: Source, before: Layout | None, version: str) -> list[str]:
    """Brings a dataset to today's layout, if it is of another; returns what a person should know.

    `before` is the layout that it carries; `version` is that of this gapless. Must be called with the lock held.
    Raises GaplessError for a model that its rows cannot be brought to.
    """
    if before == today(source) or not _can(pipeline):
        return []
    with PipelineReader(pipeline).connected() as reader:
        real = reader.columns(source.name, [*table_names(source), LAYOUT_TABLE])
        require_own(real.get(LAYOUT_TABLE, ()), source.name)
        stored = stored_columns(reader, source) if LOADS in real else {}
        # First syncs that failed, or were broken off, left tables without a mark, and nothing of an older version.
        loaded = f"select 1 from {{0}} where {is_completed('{1}')} limit 1"
        is_older = any(reader.rows(source.name, loaded, table.name, LOADS) for table in source.tables)
    # A first sync writes the mark at its end.
    if LOADS not in real:
        return []
    adapt(pipeline, source, stored, real)
    # dlt adds the columns and tables that are missing, each with the type that it loads into.
    _load_nothing(pipeline, source)
    kind = pipeline.destination.destination_type
    with PipelineReader(pipeline).connected() as reader:
        # Where rows below are lost, a count of those that are left would hide it.
        held, now = read_held(reader, source) or Held(), count_rows(reader, source)
        below = find_below(reader, source, held, now)
        whole = below.clean and not {*held.missed(now)} - {*of_roots(source, now)}
    with pipeline.sql_client() as client, client.begin_transaction():
        _wait_for_shards(client, source, kind)
        if whole:
            fill_below(client, source)
        moved = [*move_fields(client, source, configured_policy(source), kind)]
        if whole and moved:  # perhaps into tables below
            fill_below(client, source, again=True)
        _write(client, source, version, real.get(LAYOUT_TABLE, ()))
    return _messages(source, before or FIRST, [*moved, *unnamed(source, stored)]) if is_older else []


def mark_layout(pipeline: dlt.Pipeline, source: Source, version: str) -> None:
    """Marks a dataset that this version made itself, under the lock; does nothing where a mark is, or no dataset."""
    if not _can(pipeline):
        return
    with PipelineReader(pipeline).connected() as reader:
        real = reader.columns(source.name, [LOADS, LAYOUT_TABLE])
        require_own(real.get(LAYOUT_TABLE, ()), source.name)
        made = LOADS in real and read_layout(reader, source.name) is None
    if made:
        with pipeline.sql_client() as client, client.begin_transaction():
            _wait_for_shards(client, source, pipeline.destination.destination_type)
            _write(client, source, version, real.get(LAYOUT_TABLE, ()))


def _wait_for_shards(client: SqlClient, source: Source, kind: str) -> None:
    """Waits until no other shard writes the mark, as shards begin, and end, at once."""
    if kind.endswith("postgres"):
        client.execute_sql("select pg_advisory_xact_lock(hashtext(%s))", f"gapless layout {source.name}")


def _can(pipeline: dlt.Pipeline) -> bool:
    """Returns whether a destination takes our own statements, by which a layout is noted and upgraded."""
    return backend_of(pipeline).updates_rows


def _load_nothing(pipeline: dlt.Pipeline, source: Source) -> None:
    import dlt

    from gapless.sources._extract.resource import tree_resource
    from gapless.sources._ledger.session import LoadItem

    def resource() -> DltResource:
        return tree_resource(source.tables, lambda ledger, state: iter([LoadItem([])]), source.name)

    file_format = backend_of(pipeline).file_format
    pipeline.run(dlt.source(resource, name=source.name)(), loader_file_format=file_format)


def _write(client: SqlClient, source: Source, version: str, there: Collection[str]) -> None:
    """Writes the mark of today's layout: one row. `there` are the columns of its table, none without it."""
    table, layout = client.make_qualified_table_name(LAYOUT_TABLE), today(source)
    if there and not {*there} >= COLUMNS:
        client.execute_sql(f"drop table {table}")
    client.execute_sql(
        f"create table if not exists {table}"
        " (version bigint, written_by varchar(80), shape varchar(80), since varchar(40))"
    )
    client.execute_sql(f"delete from {table} where 1 = 1")
    since = datetime.now(UTC).isoformat(timespec="seconds")
    client.execute_sql(
        f"insert into {table} (version, written_by, shape, since) values (%s, %s, %s, %s)",
        layout.version,
        version,
        layout.shape,
        since,
    )


def _messages(source: Source, before: Layout, changes: list[str]) -> list[str]:
    version = f"its database was of layout {before.version} and is of layout {LAYOUT} now"
    upgraded = [version] if before.version != LAYOUT else []
    return [f"{source.name}: {one}" for one in (*upgraded, *changes)]
