"""Makes one dlt resource of each stream of a source, and of what a command writes to the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import dlt
from dlt.sources import DltResource

from gapless.sources._dlt.internals import LimitItem, is_loaded
from gapless.sources._dlt.types import State
from gapless.sources._extract.checks import check
from gapless.sources._extract.extraction import Extraction, Extractions
from gapless.sources._extract.hints import SOURCE_HINT, columns, shapes
from gapless.sources._extract.steps.page import Journal, items
from gapless.sources._extract.steps.settle import Settle
from gapless.sources._extract.steps.to_columns import ToColumns, extraction_of
from gapless.sources._extract.steps.unfinished import Pass
from gapless.sources._extract.write_strategy import Arrows
from gapless.sources._extract.writer import Writer
from gapless.sources._ledger.package import ToArrow
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.arrow import ArrowRows, Table, to_arrow
from gapless.sources._schema.privacy import Privacy

Start = Callable[[Extraction, Table, datetime | None], Iterator[LoadItem]]
"""Returns what a resource reads in a sync; the table has the name that it has in the dataset.

The time is that at which a pass began that is going on; None: this run begins one."""
__all__ = ["private_to_arrow", "shapes", "stream_resource", "table_resource", "tree_resource"]


def private_to_arrow(tables: Sequence[Table], privacy: Privacy) -> ToArrow:
    """Returns what turns records into columns as the privacy policy allows; it names tables as `tables` do."""
    # By model, because the policy names tables as they are declared, and here they may have a prefix.
    plain = {table.model: table for table in tables}

    def convert(table: Table, records: Sequence[object]) -> ArrowRows:
        made = to_arrow(table, records)
        pairs = zip(plain[table.model].schema.tree(), table.schema.tree(), strict=True)
        return ArrowRows(made.ids, {named.name: privacy.apply(own, made.rows[named.name]) for own, named in pairs})

    return convert if privacy.active else to_arrow


def stream_resource(
    extractions: Extractions,
    table: Table,
    start: Start,
    to_arrow: ToArrow = to_arrow,
    *,
    begin: Callable[[bool], Extraction] | None = None,
    derived: tuple[Table, ...] = (),
    column: str | None = None,
    by_id: bool = False,
    rows: bool = False,
) -> DltResource:
    """Returns a resource with one item for each page of `table`, and with all that must be loaded together with it.

    `begin` begins the extraction in dlt's own thread, or a preview if it gets False. `column` names the column with
    the id of a record's parent; `by_id` says that each record is read by a request of its own. `rows` yields nested
    rows instead of Arrow tables.
    """
    records = table.name == extractions.main

    def begun(pipe: Any) -> Extraction:
        loaded = is_loaded(pipe, Settle)
        # A command of ours sets nothing that would have to be refused.
        if loaded and extractions.own:
            check(dlt.current.source().resources[pipe.name], table, rows)
        return (begin or extractions.begin)(loaded)

    def read() -> Iterator[Any]:
        pipe: Any = dlt.current.pipe()
        extraction, limited = extraction_of(pipe), any(isinstance(step, LimitItem) for step in pipe.steps)
        session, named, done = extraction.session, table, None
        if extraction.load_id is not None:
            resource = dlt.current.resource()
            named = extraction.table(table, str(resource.table_name))
            extractions.declare(extraction, named, resource.name, derived)
            done = Pass(_states(extraction, table, named), extraction.ledger, limited=limited)
        began = done.began if done else None
        steps = session.load_items(named.name, lambda: start(extraction, named, began))
        extraction.readers += 1
        try:
            journal = Journal(extraction, named, extractions.main, column or "", by_id, done)
            yield from items(journal, steps, limited=limited)
        finally:
            extraction.readers -= 1
            if extraction.own_session:
                session.close(named.name)
                # The resources share the client, and the last one to end closes its connections.
                if extraction.readers == 0 and session.client:
                    session.client.release()

    resource: DltResource = dlt.resource(
        read,
        name=table.name,
        primary_key=table.key,
        write_disposition=table.write_disposition,
        columns=columns(table.schema),
    )
    resource.apply_hints(additional_table_hints={SOURCE_HINT: extractions.source})
    first, last = ToColumns(begun, to_arrow, rows), Settle(derived, to_arrow, records)
    return resource.add_step(first).add_step(last)


def _states(extraction: Extraction, table: Table, named: Table) -> list[State]:
    """Returns the states of all resources of the run, as far as they count: first that of `table`, named `named`."""
    if extraction.fresh:
        return []
    own, every = dlt.current.resource().name, dlt.current.source_state().get("resources", {})
    others = [every[name] for name in dlt.current.source().resources.selected if name != own and name in every]
    return [extraction.state_of(table, named, dlt.current.resource_state()), *others]


def tree_resource(
    tables: Sequence[Table], read: Callable[[Ledger, State], Iterator[LoadItem]], source: str
) -> DltResource:
    """Returns a resource named after the first of `tables`, which loads what `read` yields.

    `read` receives the ledger and the resource's state.
    """
    session = Session()

    def start(extraction: Extraction, table: Table, began: datetime | None) -> Iterator[LoadItem]:
        return read(extraction.ledger, dict(dlt.current.resource_state()))

    # With a session of ours, as nothing of a user's is to be checked or refused.
    extractions = Extractions(source, tables[0].name, tables, session)
    return stream_resource(extractions, tables[0], start, derived=tuple(tables[1:]))


def table_resource(
    main: Table, read_trees: Callable[[State], Iterator[tuple[Table, Arrows]]], source: str
) -> DltResource:
    """Returns a resource named after `main`; each extraction yields the trees of columns from `read_trees`.

    `read_trees` receives the resource's state and changes it to what it is once they are loaded.
    """
    extractions = Extractions(source, main.name, [main], Session())

    def read() -> Iterator[Any]:
        extraction, writers = extractions.begin(), dict[str, Writer]()
        for table, trees in read_trees(dlt.current.resource_state()):
            extractions.declare(extraction, table, main.name)
            yield from writers.setdefault(table.name, Writer(extraction, main)).tree(table, trees)

    return dlt.resource(
        read,
        name=main.name,
        primary_key=main.key,
        write_disposition=main.write_disposition,
        columns=columns(main.schema),  # else JSON would be the text that Arrow has for it
    )
