"""What dlt works out again and again, worked out once, and what it loads for nothing, loaded when it is needed.

dlt's class of a destination is also where a sync finds what the merges of its clients change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import dlt
from dlt.common import validation
from dlt.common.configuration import resolve
from dlt.common.configuration.providers import environ
from dlt.common.destination import Destination, DestinationCapabilitiesContext, PreparedTableSchema
from dlt.common.destination.client import DestinationClientConfiguration
from dlt.common.destination.configuration import ParquetFormatConfiguration
from dlt.common.normalizers.naming import NamingConvention
from dlt.common.schema.typing import TSchemaTables

from gapless.sources._dlt.row_changes import Comparison, RowChanges, comparison
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS, STATUS_CHANGES

LEDGER = {table.name for table in (COVERAGE, DEAD_LETTERS, RUNS, STATUS_CHANGES)}
UNCOMPRESSED = ParquetFormatConfiguration(compression="none")
"""Files that are read once, at once, are not worth compressing."""
Turn = Callable[[], AbstractContextManager[None]]
"""Holds a lock of all shards while it is open."""
InitialValues = tuple[tuple[str, str], ...]
"""Name and `repr` of each."""


class CachedDestination(Destination[Any, Any]):
    """Stands before dlt's class of a destination in a list of bases; an object of it is good for one sync.

    Why: dlt asks twenty times a run for a destination's configuration and capabilities and works both out anew each
    time, which is half of all that an idle sync computes. Replaced by: the same memory in dlt.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)
        self._capabilities: dict[str | None, DestinationCapabilitiesContext] = {}
        self._configurations: dict[InitialValues, DestinationClientConfiguration] = {}
        self.row_changes = RowChanges()
        """Of the load package that is loaded, for all clients."""

    def client(self, schema: dlt.Schema, initial_config: Any = None) -> Any:
        """Returns dlt's client, which notes in `row_changes` what its merges change."""
        client: Any = super().client(schema, initial_config)
        client.row_changes = self.row_changes
        return client

    def capabilities(
        self, config: DestinationClientConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        """Returns a copy of what the destination can do, worked out once for each naming convention."""
        if config is not None:
            return super().capabilities(config, naming)
        name = naming.name() if naming else None
        if name not in self._capabilities:
            self._capabilities[name] = super().capabilities(None, naming)
        # A copy, as dlt itself makes a new object each time, and changes some of them.
        return self._capabilities[name].copy()

    def configuration(
        self, initial_config: DestinationClientConfiguration, accept_partial: bool = False
    ) -> DestinationClientConfiguration:
        """Returns a copy of the resolved configuration, resolved once for each set of initial values."""
        if accept_partial or initial_config.is_resolved():
            resolved: DestinationClientConfiguration = super().configuration(initial_config, accept_partial)
            return resolved
        # By their texts, as credentials cannot be compared or hashed.
        initial = tuple((name, repr(value)) for name, value in initial_config.items())
        if initial not in self._configurations:
            self._configurations[initial] = super().configuration(initial_config)
        return self._configurations[initial].copy()


class ComparingClient:
    """Stands before dlt's class of a client in a list of bases: its jobs compare rows before they merge them."""

    row_changes: RowChanges

    def note_comparison(
        self, tables: Sequence[PreparedTableSchema], row: str = "", read: Callable[[str], str] = str
    ) -> None:
        """Notes the comparison of a root table and those below it, if they are merged and the vendor's.

        `row` is that of `comparison`; `read` changes its SQL to read the package's rows from elsewhere.
        """
        name = str(tables[0]["name"])
        if tables[0]["write_disposition"] == "merge" and name not in LEDGER:
            client = cast("Any", self).sql_client
            found = comparison(tables, client.get_qualified_table_names, client.escape_column_name, row)
            self.row_changes.comparisons[name] = Comparison(*map(read, found))


class TurnTakingClient:
    """Stands before dlt's class of a client in a list of bases: a shard's client, as others make the same tables."""

    turn: Turn

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Creates the dataset, in turn with other shards."""
        with self.turn():
            cast("Any", super()).initialize_storage(truncate_tables)

    def update_stored_schema(
        self,
        only_tables: Iterable[str] | None = None,
        expected_update: TSchemaTables | None = None,
        force: bool = False,
    ) -> TSchemaTables | None:
        """Creates and changes tables, in turn with other shards."""
        with self.turn():
            updated = cast("Any", super()).update_stored_schema(only_tables, expected_update, force)
        return cast("TSchemaTables | None", updated)


def remember_types() -> None:
    """Makes dlt look up once which types the keys of its dictionaries have.

    Why: it does so for each table and each column of a schema that it reads, which is a tenth of what an idle sync
    computes; a note in dlt's source says the same. Replaced by: the same memory in dlt.
    """
    module: Any = validation
    look_up, known = module.get_type_hints, dict[type, dict[str, Any]]()

    def once(spec: type, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if spec not in known:
            known[spec] = look_up(spec, *args, **kwargs)
        return known[spec]

    # In dlt's module alone; all others keep Python's own.
    module.get_type_hints = once


def remember_secrets() -> None:
    """Makes dlt find out once which types of settings are secret.

    Why: it takes each type apart for each place where a setting may stand, which is a third of what it takes to
    resolve the configuration of a load package. Replaced by: the same memory in dlt.
    """
    modules: tuple[Any, ...] = (environ, resolve)
    is_secret: Callable[[Any], bool] = modules[0].is_secret_hint
    known = cache(is_secret)

    def once(hint: Any) -> bool:
        try:
            return known(hint)
        except TypeError:  # a type that cannot be hashed, as one with a list among its annotations
            return is_secret(hint)

    for module in modules:
        module.is_secret_hint = once


class _Later(ModuleType):
    """A module with a function `init`, which is loaded when somebody takes anything else from it."""

    given: tuple[object, ...] | None = None
    """What `init` is to be called with."""

    def init(self, *given: object) -> None:
        """Keeps what the module is to be told once it is loaded."""
        self.given = given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # whoever looks at all modules, as `inspect` does
            raise AttributeError(name)
        # Else the import would find this stand-in again.
        sys.modules.pop(self.__name__, None)
        module = import_module(self.__name__)
        if self.given is not None:
            module.init(*self.given)
        return getattr(module, name)


def load_later(name: str = "dlt.sources.helpers.requests") -> None:
    """Keeps a module from being loaded with every configuration: of dlt's, its HTTP client, which we do not use.

    Why: dlt loads it, with the library below it, to tell it its timeouts. Replaced by: an import on first use in dlt.
    """
    sys.modules.setdefault(name, _Later(name))


remember_types()
remember_secrets()
