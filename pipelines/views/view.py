"""A view of the schema `activity`, and what the header of its file says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile

MARK = "_made"
"""A view that holds a digest of what the others were made from, the sources, and what the others read and are."""


@dataclass(frozen=True)
class View:
    """One view of the schema `activity`."""

    name: str
    query: str
    """In DuckDB's SQL, with the header."""
    like: str = ""
    """The view that describes the columns of this one, which is a part of it."""

    @property
    def grain(self) -> str:
        """Returns what it has one row for, from its header."""
        (line,) = re.findall(r"^-- One row per (.*)\.$", self.query, re.MULTILINE)
        return str(line)

    @property
    def key(self) -> list[str]:
        """Returns the columns that identify a row, from its header."""
        (line,) = re.findall(r"^-- Key: (.*)\.$", self.query, re.MULTILINE)
        return str(line).split(", ")

    @property
    def about(self) -> str:
        """Returns what it holds, from its header, in one line."""
        lines = [line for line in self._header if not line.startswith(("-- - ", "--   ", "-- Key: "))]
        return " ".join(line.removeprefix("-- ") for line in lines)

    @property
    def columns(self) -> dict[str, str]:
        """Returns what its columns hold, as far as its header says so: those of what it reads need no line there."""
        text = "\n".join(self._header).replace("\n--   ", " ")
        return dict(re.findall(r"^-- - (\w+): (.*)$", text, re.MULTILINE))

    @property
    def column_names(self) -> list[str]:
        """Returns its columns, in the order of the query."""
        import sqlglot

        query = sqlglot.parse_one(self.query, dialect="duckdb")
        assert isinstance(query, sqlglot.exp.Query)
        return [*query.named_selects]

    @property
    def _header(self) -> list[str]:
        return [*takewhile(lambda line: line.startswith("--"), self.query.splitlines())]

    @property
    def reads(self) -> list[str]:
        """Returns the tables and views that it reads, as `dataset.name`, in the order of the query."""
        return [*dict.fromkeys(re.findall(r"\b(?:from|join) (\w+\.\w+)", self.query))]
