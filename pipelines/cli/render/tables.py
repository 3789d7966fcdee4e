"""Makes a table, in which rich reads no markup, and texts that several tables share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from gapless.pipelines.redaction import printable

REASONS = 10
"""Lines printed for each source; the table dead_letters holds the others."""


def table(title: str, columns: list[str], rows: Sequence[Sequence[object]]) -> Table:
    """Returns a table with the columns of numbers aligned right."""
    # Without borders, so that rows can be copied and searched.
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        # Folded and never cut off: an id that is not whole cannot be used.
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(value: object) -> Text:
    """Returns a cell as plain text: rich must not read markup in a record's text. A list is its lines."""
    if isinstance(value, Text):
        return value
    if isinstance(value, int | float):
        return Text(f"{value:,}")
    lines = value if isinstance(value, list) else [] if value is None else [value]
    return Text("\n".join(printable(str(line)) for line in lines))


def when(value: datetime | None) -> str:
    """Returns a time to the second, or "never"."""
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else "never"
