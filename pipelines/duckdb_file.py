"""The DuckDB file: opened once for a whole sync, and dlt's destination for it, quicker to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.normalizers.naming import NamingConvention
from dlt.destinations import duckdb as destination
from dlt.destinations.impl.duckdb.configuration import DuckDbClientConfiguration

from pipelines.errors import GaplessError

MEMORY = "150MB"
"""What DuckDB may hold beside Python's own; more goes to its temporary files."""


@contextmanager
def opened(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Raises GaplessError: DuckDB admits nobody beside a writer, not even readers.

    It stays open for the whole sync: closing it compresses what was just staged, a third of all the time.
    """
    try:
        connection = duckdb.connect(str(file))
    except duckdb.Error as error:
        first = str(error).strip().split("\n", 1)[0][:300]
        raise GaplessError(
            f"cannot open {file} for writing: {first}. If another program has it open, close"
            " it there; to read while a sync writes, read a copy."
        ) from None
    with connection:
        connection.execute(f"set global memory_limit = '{MEMORY}'")
        yield connection


class DuckdbFile(destination):
    """dlt asks a destination twenty times a run for its settings and what it can, and looks both up anew each time:
    half of all that an idle sync computes. Here both are worked out once for a dataset."""

    def __init__(self, credentials: Any) -> None:
        super().__init__(credentials)
        self._capabilities: dict[str | None, DestinationCapabilitiesContext] = {}
        self._configurations: dict[Any, DuckDbClientConfiguration] = {}

    @property
    def destination_type(self) -> str:
        """As dlt knows it, in its traces and for `dlt.attach`."""
        return "dlt.destinations.duckdb"

    def capabilities(
        self, config: Any = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        if config is not None:
            return super().capabilities(config, naming)
        name = naming.name() if naming else None
        if name not in self._capabilities:
            self._capabilities[name] = super().capabilities(None, naming)
        return self._capabilities[name].copy()

    def configuration(
        self, initial_config: DuckDbClientConfiguration, accept_partial: bool = False
    ) -> DuckDbClientConfiguration:
        if accept_partial or initial_config.is_resolved():
            return super().configuration(initial_config, accept_partial)
        asked = tuple((name, repr(value)) for name, value in initial_config.items())
        if asked not in self._configurations:
            self._configurations[asked] = super().configuration(initial_config)
        return self._configurations[asked].copy()
