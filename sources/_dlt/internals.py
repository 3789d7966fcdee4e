"""The door to dlt's insides for sources/: all that is imported from below dlt's documented surface.

Documented are `dlt`, `dlt.sources` and `dlt.destinations`. Each entry says what it does, why it is needed and what
would replace it. tests/unit/test_dlt_canaries.py has one canary for each; test_dlt_door.py beside it keeps such
imports out of all other files. The door of pipelines/ is pipelines/destinations/_dlt.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs import PluggableRunContext
from dlt.common.configuration.specs.base_configuration import NotResolved
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.exceptions import ResourceNameNotAvailable
from dlt.common.schema.typing import TTableSchema
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.common.versioned_state import compress_state, decompress_state
from dlt.extract.incremental.context import get_interval_context
from dlt.extract.items import DataItemWithMeta
from dlt.extract.items_transform import ItemTransform, LimitItem, YieldMapItem
from dlt.extract.pipe import ForkPipe

__all__ = [
    "DataItemWithMeta",
    "DestinationUndefinedEntity",
    "ForkPipe",
    "ItemTransform",
    "LimitItem",
    "NotResolved",
    "YieldMapItem",
    "accept_json_as_text",
    "column_names",
    "forget_references",
    "hints_of",
    "incremental_of",
    "is_loaded",
    "joins_scheduler",
    "load_package",
    "name_root_resources",
    "pipeline_state",
    "settings_files",
    "state_text",
]
"""ItemTransform, DataItemWithMeta: a step of a pipe that knows its place, and an item with what belongs to it beside
it. LimitItem, YieldMapItem: what the last step must know of the steps before it, so that state never runs ahead of
rows. ForkPipe: what gives the rows to a transformer, too. Replaced by: a hook of dlt's between the last filter and
the writer.

NotResolved: keeps dlt from looking for an argument such as `rows` in the environment. Replaced by: a documented one.

DestinationUndefinedEntity: raised by `sql_client()` for a table or a dataset that is not there yet, which before
the first load is no error. Replaced by: a documented way to ask whether a table exists."""


class _RootResource(dlt.Schema):
    """A schema whose tables all name a resource that is being extracted."""

    extracted: frozenset[str] = frozenset()

    def get_table(self, table_name: str) -> TTableSchema:
        """Returns dlt's table; a nested one has the resource of its root."""
        table = super().get_table(table_name)
        parent = table.get("parent")
        resource = self.get_table(parent)["resource"] if parent else table.get("resource")
        if resource is None:
            return table
        # dlt looks the name up among this source's resources, and a table may belong to one that is not there.
        return {**table, "resource": resource if resource in self.extracted else min(self.extracted)}


class _JsonIsText(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "several column hints were different" not in record.getMessage()


def accept_json_as_text() -> None:
    """Silences one warning of dlt: that a JSON column comes as text.

    Why: no Arrow type becomes a JSON column in dlt 1.31, so every run would warn once a table. Replaced by: one.
    """
    log = logging.getLogger("dlt")
    # The logger outlives a run, and the filters of all runs would pile up.
    if not any(isinstance(one, _JsonIsText) for one in log.filters):
        log.addFilter(_JsonIsText())


def load_package() -> Any:
    """Returns dlt's load package that is being extracted, with `load_id` and `state`; None in a preview.

    Why: iterating over a source without a pipeline must work. Replaced by: a documented way to ask for it.
    """
    try:
        return dlt.current.load_package_state()
    except CurrentLoadPackageStateNotAvailable:
        return None


def pipeline_state(text: str) -> dict[str, Any]:
    """Returns a pipeline's state, given the text that dlt stores in its state table.

    Why: `state show`, `gaps` and `backfill` read what the next sync will restore, and another account's rows in a
    dataset are known by it, whichever pipeline loaded them. Replaced by: a documented read-only way to load a state.
    """
    return dict(decompress_state(text))


def state_text(state: dict[str, Any]) -> str:
    """Returns a pipeline's state as the text that dlt stores in its state table.

    Why: ids of people who were forgotten stand there, too, and an older state is kept beside each newer one.
    Replaced by: a documented way to change a stored state.
    """
    return str(compress_state(state))  # type: ignore[arg-type]  # a TypedDict of dlt's


def hints_of(resource: Any) -> dict[str, Any]:
    """Returns the hints that are set on a resource, by name.

    Why: of keys and nested hints dlt shows only what it makes of them, and that fails late. Replaced by: a property.
    """
    return dict(resource._hints or {})


def is_loaded(pipe: Any, step: type) -> bool:
    """Returns whether dlt is about to write what a pipe yields that has a step of this class; False in a preview.

    Why: what a transformer or another resource reads is theirs to write. A ledger beside it would be taken for rows,
    and say that they are stored. Replaced by: a documented way to ask which resource is read.
    """
    try:
        dlt.current.pipe()
    except ResourceNameNotAvailable:
        pass
    else:
        return False  # another pipe reads this one
    if load_package() is None:
        return False
    found = dlt.current.source().resources.selected.get(pipe.name)
    return found is not None and any(isinstance(one, step) for one in found._pipe.steps)


def forget_references(resource: Any, table: str) -> None:
    """Removes the references that a variant of a resource's hints took over: they belong to the resource's own table.

    Why: `apply_hints` can only add to them. Replaced by: variants that begin without hints.
    """
    resource._hints_variants[table].pop("references", None)


def incremental_of(step: Any) -> Any:
    """Returns dlt's incremental that is a step of a pipe, or in one; None for another step.

    Why: a hint sets it as the one or the other. Replaced by: one class for both.
    """
    found = getattr(step, "incremental", step)
    return found if isinstance(found, dlt.sources.incremental) else None


def joins_scheduler(step: Any = None) -> bool:
    """Returns whether an outer scheduler's interval bounds a resource: by its incremental, else the configuration.

    Why: dlt asks only its incremental, and a source of ours need not have one. Replaced by: a documented way to ask
    for the configuration.
    """
    incremental, context = incremental_of(step), get_interval_context()
    own = incremental and incremental.allow_external_schedulers
    return bool(context and context.allow_external_schedulers) if own is None else bool(own)


def name_root_resources() -> None:
    """Lets the resource that is being extracted yield Arrow tables for nested tables.

    Why: `Extract._compute_metrics` reads `get_table(name)["resource"]` for every table that got a file, and a nested
    table has none (KeyError). dlt clones a schema given to `@dlt.source`, so the class of the current one is changed.
    Replaced by: nested tables for Arrow data in dlt.
    """
    extracted = frozenset(dlt.current.source().resources)
    # A class of its own, because several sources are extracted in one run.
    dlt.current.source_schema().__class__ = type("RootResource", (_RootResource,), {"extracted": extracted})


def column_names(cursor: Any) -> list[str]:
    """Returns the names of a query's columns in lower case, given the cursor of `execute_query`.

    Why: `description` is not there for every engine. Replaced by: `cursor.description` for all of them.
    """
    return [name.lower() for name in cursor._get_columns()]


def settings_files() -> Iterator[str]:
    """Yields the files that dlt has read settings from, and the one that makes a folder a workspace.

    Why: a file that others can write could name another host for a key, and dlt reads it without a look at its owner.
    Replaced by: such a look in dlt, or a documented list of its providers and their files.
    """
    context = Container()[PluggableRunContext]
    read = [file for provider in context.providers.providers for file in provider.present_locations]
    # Some are relative to where the process was then: after a change of folder there may be none of that name.
    yield from filter(os.path.lexists, [*read, context.context.get_setting(".workspace")])
