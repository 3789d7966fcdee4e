"""What the views need of a destination: which tables and columns are there, and how views are created.

No view may be named here: their SQL is in pipelines/views/sql, and dialect.py translates it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from gapless.pipelines.destinations.reader import Rows

SCHEMA = "activity"


class Catalog(Protocol):
    """The tables and views of a destination."""

    dialect: str
    """The engine's name in sqlglot."""

    def existing(self, wanted: Collection[str]) -> set[str]:
        """Returns which of these tables and views (`dataset.name`) exist."""

    def columns(self, tables: Collection[str]) -> set[str]:
        """Returns the columns of those of these tables (`dataset.name`) that exist, as `dataset.name.column`."""

    def value(self, view: str, what: str) -> object:
        """Returns the one cell of `select what from view`."""

    def create(self, views: Mapping[str, str], missing: Collection[str]) -> None:
        """Creates views (name -> query) in this order; all or none if the engine has transactions for that.

        `missing` are tables (`dataset.name`) and columns (`dataset.name.column`) that are not there.
        """

    def schema(self, dataset: str) -> str:
        """Returns the dataset's name in the destination."""

    def rows(self, query: str) -> Rows:
        """Returns the rows of a query in the engine's own SQL."""

    def run(self, statements: Sequence[str]) -> None:
        """Runs statements; all or none if the engine has transactions for that."""


class StoredIn:
    """Answers queries about one dataset, by a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def rows(self, dataset: str, select: str, *tables: str) -> Rows:
        """Returns the rows of a select, in which `{0}`, `{1}`, … stand for tables that are there."""
        names = [f'"{self._catalog.schema(dataset)}"."{table}"' for table in tables]
        return self._catalog.rows(select.format(*names))

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns the columns of those of `tables` that exist."""
        found: dict[str, set[str]] = {}
        for name in self._catalog.columns({f"{dataset}.{table}" for table in tables}):
            found.setdefault(name.split(".")[1], set()).add(name.split(".")[2])
        return found


def table_of(missing: str) -> str:
    """Returns the table of a missing table or column, as `dataset.name`."""
    return ".".join(missing.split(".")[:2])
