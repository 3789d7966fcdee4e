"""Makes cells and results safe to hand to a model: text from strangers stays text, short, and without a secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gapless.pipelines.redaction import Json, printable
from gapless.pipelines.ui.database.results import as_text

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CELL = 4_000
"""Characters of a cell, of whatever type."""
MOST_ANSWER = 200_000
"""Characters of all cells of an answer, about 50,000 tokens."""
EXACT = 2**53
"""From it on a reader of JSON may change a number, so that it is given as text."""


def safe(value: object, most: int | None = None) -> Json:
    """Returns a value as JSON: times in UTC, texts without control characters and without a configured secret.

    What would have more than `most` characters (MOST_CELL) is a text that is cut, also a list or an object.
    """
    most = MOST_CELL if most is None else most
    # JSON has no infinity and no NaN, which are not below any number.
    if value is None or isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < EXACT):
        return value
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, dict | list | tuple):
        made = _parts(value, most)
        text = json.dumps(made, ensure_ascii=False)
        return made if len(text) <= most else f"{text[:most]}… (cut)"
    return _text(value.hex() if isinstance(value, bytes) else str(value), most)


def _time(value: datetime) -> str:
    try:
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except OverflowError:  # in UTC it is in the year 0 or 10000
        return value.isoformat()


def _parts(value: dict[Any, object] | list[object] | tuple[object, ...], most: int) -> Json:
    if isinstance(value, dict):
        return {_text(str(name), most): safe(one, most) for name, one in value.items()}
    return [safe(one, most) for one in value]


def _text(text: str, most: int) -> str:
    # Lines stay, as they are part of a message; what a terminal would obey or hide is escaped, which makes it longer.
    # Of more than is shown, so that no half of a secret stands at the end.
    made = printable(text[: 2 * MOST_CELL], lines=True)
    fits = len(made) <= most and len(text) <= 2 * MOST_CELL
    return made if fits else f"{made[:most]}… (cut: {len(text):,} characters)"


def table(found: pa.Table, most: int) -> dict[str, Json]:
    """Returns a result's columns and its first `most` rows, and whether there are others."""
    shown = found.slice(0, most)
    kept = bounded(zip(*map(_cells, shown.columns), strict=True))
    # Of a result with very many columns the names and types are as many characters as the cells.
    share = _share(found.num_columns)
    columns: list[Json] = [
        {"name": _text(one.name, share), "type": _text(str(one.type), share)} for one in found.schema
    ]
    return {"columns": columns, "rows": [*kept], "cut": found.num_rows > len(kept)}


def records(names: Sequence[str], rows: Sequence[Sequence[object]], most: int) -> dict[str, Json]:
    """Returns rows as objects, the first `most`, and whether there are others."""
    kept = bounded(rows[:most])
    return {"rows": [dict(zip(names, row, strict=True)) for row in kept], "cut": len(rows) > len(kept)}


def bounded(rows: Iterable[Sequence[object]]) -> list[list[Json]]:
    """Returns the first rows, as many as MOST_ANSWER allows; at least one, whose cells are cut to fit."""
    kept, size = list[list[Json]](), 0
    for row in rows:
        cells = [safe(cell) for cell in row]
        size += sum(map(_length, cells))
        if size > MOST_ANSWER:
            return kept or [[safe(cell, _share(len(row))) for cell in row]]
        kept.append(cells)
    return kept


def _share(cells: int) -> int:
    """Returns how many characters each of so many cells may have."""
    return min(MOST_CELL, MOST_ANSWER // max(cells, 1))


def _length(cell: Json) -> int:
    return len(json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict | list) else str(cell))


def _cells(column: pa.ChunkedArray) -> Iterator[object]:
    """Yields the cells of a column; of a list no more than can be shown, as it may have millions of elements."""
    for at, cell in enumerate(column):
        try:
            yield _first(cell, [MOST_CELL])
        # Python has no such time; DuckDB has a text for it.
        except (ValueError, OverflowError, NotImplementedError):
            yield as_text(column.slice(at, 1))[0].as_py()


def _first(cell: pa.Scalar, left: list[int]) -> object:
    """Returns a cell as Python has it, up to `left` characters of it: each part is one at least."""
    import pyarrow as pa

    left[0] -= 1
    if isinstance(cell, pa.UnionScalar):
        return None if cell.value is None else _first(cell.value, left)
    if not cell.is_valid:
        return None
    if isinstance(cell, pa.StructScalar):
        names = [field.name for field in cell.type]
        return {name: _first(cell[at], left) for at, name in enumerate(names) if left[0] >= 0}
    if isinstance(cell, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar | pa.ListViewScalar):
        made = [_first(one, left) for one in takewhile(lambda _: left[0] >= 0, cell.values)]
        return (
            [[*pair.values()] for pair in made if isinstance(pair, dict)] if isinstance(cell, pa.MapScalar) else made
        )
    value = cell.as_py()
    left[0] -= len(value) if isinstance(value, str | bytes) else 0
    return value
