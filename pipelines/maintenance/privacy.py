"""Brings the rows of a source that were loaded before to today's privacy policy, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._layouts.changing import changing
from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.note import make_tables, mark_uncompacted
from gapless.pipelines.erasure.tables import Tables
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.evidence.completeness import exists
from gapless.pipelines.evidence.policy import configured_policy
from gapless.pipelines.maintenance.private_rows import PrivateRows
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOAD_ID, LOADS, STATES, newest_state_load
from gapless.sources._extract.resource import shapes
from gapless.sources._ledger.ledger import DEAD_LETTERS
from gapless.sources._schema.policy_history import HISTORY, note_applied
from gapless.sources._schema.privacy import Privacy

if TYPE_CHECKING:
    from gapless.sources._dlt.types import SqlClient, State

ERRORS = (("dead_letters", "reason"), ("coverage", "error"), ("runs", "error"))
"""Columns with texts of errors, in which vendors' words are."""


@dataclass(frozen=True)
class Applied:
    """What was changed of one source, or would be."""

    source: str
    cells: dict[str, int] = field(default_factory=dict)
    """How many cells, by `table.column`."""
    not_here: Sequence[str] = ()
    """Columns of which an earlier policy left no clear values here, and today's wants them."""

    def to_json(self) -> dict[str, object]:
        """Returns the fields as JSON values."""
        return {"source": self.source, "cells": self.cells, "not_here": list(self.not_here)}


class _Undone(Exception):
    """Ends a transaction that was only to show what it would change."""


def apply(target: Target, names: Sequence[str] = (), *, dry_run: bool = False) -> list[Applied]:
    """Applies today's policies to the rows of these sources, without names of all that were synced.

    Raises WrongSettings for a policy that is wrong and where rows cannot be changed in place, Locked while somebody
    else uses the destination, GaplessError when it fails: nothing of that source is changed then.
    """
    if not target.backend.updates_rows:
        raise WrongSettings(
            f"rows in {target.destination!r} cannot be changed in place. gapless state reset SOURCE --destination"
            f" {target.destination}, then a sync, read all again under today's policy."
        )
    policies = {name: configured_policy(SOURCES[name]) for name in names or SOURCES}
    if not target.backend.exists():
        return []
    found = (_apply(target, SOURCES[name], policy, dry_run) for name, policy in policies.items())
    return [one for one in found if one]


def _apply(target: Target, source: Source, policy: Privacy, dry_run: bool) -> Applied | None:
    made: Applied | None = None
    failed = f"the rows of {source.name} are as they were, the policy could not be applied"
    with changing(target, source.name, failed) as pipeline:
        if not exists(PipelineReader(pipeline), source):
            return None
        if target.file:  # one transaction may change all that is in it
            target.make_room(target.file.stat().st_size, 0)
        json_type = "jsonb" if pipeline.destination.destination_type.endswith("postgres") else "varchar"
        try:
            with pipeline.sql_client() as client, client.begin_transaction():
                tables = Tables(pipeline, client)
                made = _change(client, source, policy, tables.columns, json_type)
                if dry_run:
                    raise _Undone
                if made.cells:
                    make_tables(tables)
                    mark_uncompacted(tables)
        except _Undone:
            pass
    return made


def _change(
    client: SqlClient, source: Source, policy: Privacy, columns: dict[str, set[str]], json_type: str
) -> Applied:
    from gapless.pipelines.destinations._dlt.runtime import changed_source_state, stored_source_state

    states, loads = map(client.make_qualified_table_name, (STATES, LOADS))
    ((load, text),) = client.execute_sql(newest_state_load(states, loads, source.name)) or [(None, None)]
    history = (stored_source_state(text, source.name) or {}).get(HISTORY, [])
    rows = PrivateRows(client, policy, history, columns, json_type)
    for shape in shapes((*source.tables, DEAD_LETTERS)):
        rows.apply(shape)
    for table, column in ERRORS if policy.active else ():
        rows.clean_errors(table, column)
    if policy.active:
        rows.drop_quoting("runs", "told")

    def note(state: State) -> None:
        note_applied(state, policy)

    changed, digest = changed_source_state(text, source.name, note)
    client.execute_sql(
        f"update {states} set state = %s, version_hash = %s where {LOAD_ID} = %s and pipeline_name = %s",
        changed, digest, load, source.name,
    )  # fmt: skip
    return Applied(source.name, rows.cells, rows.not_here())
