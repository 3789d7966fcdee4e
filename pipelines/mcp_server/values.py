"""Makes cells and results safe to hand to a model: text from strangers stays text, short, and without a secret."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gapless.pipelines.redaction import Json, printable

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CELL = 4_000
"""Characters of a cell."""
MOST_ANSWER = 200_000
"""Characters of all cells of an answer, about 50,000 tokens."""
EXACT = 2**53
"""From it on a reader of JSON may change a number, so that it is given as text."""


def safe(value: object) -> Json:
    """Returns a value as JSON: times in UTC, texts without control characters and without a configured secret."""
    # JSON has no infinity and no NaN, which are not below any number.
    if value is None or isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < EXACT):
        return value
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    if isinstance(value, dict):
        return {_text(str(name)): safe(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [*map(safe, value)]
    return _text(value.hex() if isinstance(value, bytes) else str(value))


def _text(text: str) -> str:
    cut = text if len(text) <= MOST_CELL else f"{text[:MOST_CELL]}… (cut: {len(text):,} characters)"
    # Lines stay, as they are part of a message; what a terminal would obey or hide is escaped.
    return printable(cut, lines=True)


def table(found: pa.Table, most: int) -> dict[str, Json]:
    """Returns a result's columns and its first `most` rows, and whether there are others."""
    rows = zip(*(column.to_pylist() for column in found.columns), strict=True)
    kept, size = list[Json](), 0
    for row in rows:
        cells = [safe(cell) for cell in row]
        size += sum(len(str(cell)) for cell in cells)
        if len(kept) == most or (kept and size > MOST_ANSWER):
            break
        kept.append(cells)
    columns: list[Json] = [{"name": _text(field.name), "type": str(field.type)} for field in found.schema]
    return {"columns": columns, "rows": kept, "cut": found.num_rows > len(kept)}


def records(names: Sequence[str], rows: Iterable[Sequence[Any]], most: int) -> dict[str, Json]:
    """Returns rows as objects, the first `most`, and whether there are others."""
    every = [*rows]
    kept: list[Json] = [dict(zip(names, map(safe, row), strict=True)) for row in every[:most]]
    return {"rows": kept, "cut": len(every) > most}
