"""Reads which layout a dataset has, and refuses one that a newer gapless wrote."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gapless.pipelines.destinations._catalogs.other_vendor import require_vendor
from gapless.pipelines.errors import GaplessError, NewerLayout
from gapless.sources._schema.layout import LAYOUT, LAYOUT_TABLE


class Tables(Protocol):
    """Reads a dataset, as `Reader` does."""

    def rows(self, dataset: str, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of `select`; None: a table is missing."""


@dataclass(frozen=True)
class Layout:
    """The layout of one dataset."""

    version: int
    shape: str
    """The mark of the tables and columns that its rows conform to."""


COLUMNS = frozenset({"version", "written_by", "shape", "since"})
"""The columns of the table of layouts."""
FIRST = Layout(1, "")
"""Of what was written before a dataset carried its layout."""


def read_layout(reader: Tables, dataset: str) -> Layout | None:
    """Returns the layout of a dataset; None: it carries none. Raises NewerLayout for one of a newer gapless."""
    # All columns, because later layouts may have others; these two stay the first ones for ever.
    found = reader.rows(dataset, "select * from {0}", LAYOUT_TABLE)
    if not found:
        return None
    number, written_by, *rest = (*found[0], "", "")
    # Somebody else's table of that name says nothing; `require_own` refuses to write to it.
    if not isinstance(number, int) or not isinstance(written_by, str):
        return None
    if number > LAYOUT:
        raise NewerLayout(
            f"{dataset}: this database has layout {number} (of gapless {written_by}), and this gapless knows layouts"
            f" up to {LAYOUT}: upgrade gapless"
        )
    return Layout(number, str(rest[0]))


def require_own(columns: Collection[str], dataset: str) -> None:
    """Raises GaplessError if a dataset's table of layouts, with these columns, is somebody else's."""
    # Somebody may have taken one of ours away; then it is made again.
    if columns and not {"version", "written_by"} <= {*columns} and len(COLUMNS & {*columns}) < len(COLUMNS) - 1:
        raise GaplessError(
            f"{dataset}.{LAYOUT_TABLE} is a table of somebody else's, and gapless needs that name: rename it"
        )


def require_known(reader: Any, dataset: str) -> None:
    """Raises NewerLayout or OtherVendor for a dataset that this version, by these settings, would misread."""
    read_layout(reader, dataset)
    require_vendor(reader, dataset)


class KnownLayouts:
    """A reader that refuses a dataset of a newer layout, or another vendor's, when it is first asked about it.

    `known` are the datasets that were looked at before; it is added to.
    """

    def __init__(self, reader: Any, known: set[str]) -> None:
        self._reader, self._known = reader, known
        self.appends: bool = reader.appends

    def rows(self, dataset: str, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns what `Reader.rows` says. Raises NewerLayout, OtherVendor."""
        self._require(dataset)
        found: list[tuple[Any, ...]] | None = self._reader.rows(dataset, select, *tables)
        return found

    def columns(self, dataset: str, tables: Sequence[str]) -> dict[str, set[str]]:
        """Returns what `Reader.columns` says. Raises NewerLayout, OtherVendor."""
        self._require(dataset)
        found: dict[str, set[str]] = self._reader.columns(dataset, tables)
        return found

    def _require(self, dataset: str) -> None:
        # What can only be appended to has no such table, and its files may not be there yet.
        if dataset not in self._known and not self.appends:
            require_known(self._reader, dataset)
            self._known.add(dataset)
