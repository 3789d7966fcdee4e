"""Charts as Vega-Lite's JSON. Texts and colours of the page itself are added in the browser, which knows its mode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

FORMATS = {"day": "%d %b %Y", "week": "week of %d %b %Y", "month": "%b %Y"}


def columns(
    cells: Sequence[tuple[date, str, int]], colours: Mapping[str, str], size: str, what: str
) -> Mapping[str, Any]:
    """Returns stacked columns: one for each bucket of `size` that begins at a day, in the colours of the sources."""
    names = [name for name in colours if any(cell[1] == name for cell in cells)]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": f"{what} per {size}, by source",
        "width": "container",
        "height": 220,
        "data": {"values": [*_stacked(cells, names, size)]},
        "mark": "rect",
        "encoding": {
            "x": {"field": "day", "type": "temporal", "axis": {"title": None}, "scale": {"type": "utc"}},
            "x2": {"field": "end"},
            "y": {"field": "low", "type": "quantitative", "title": f"{what} per {size}", "axis": {"tickMinStep": 1}},
            "y2": {"field": "high"},
            "color": {
                "field": "source",
                "type": "nominal",
                "scale": {"domain": names, "range": [colours[name] for name in names]},
                "legend": None,
            },
            "tooltip": [
                {"field": "bucket", "type": "nominal", "title": size},
                {"field": "source", "type": "nominal"},
                {"field": "count", "type": "quantitative", "title": what, "format": ",d"},
            ],
        },
    }


def _stacked(cells: Sequence[tuple[date, str, int]], names: Sequence[str], size: str) -> list[dict[str, Any]]:
    """Returns the columns' parts, each upon the one below it."""
    reached, made = defaultdict[date, int](int), []
    for day, name, count in sorted(
        cells, key=lambda cell: (cell[0], names.index(cell[1]) if cell[1] in names else 0)
    ):
        if count:
            low = reached[day]
            reached[day] = low + count
            ends = {"day": day.isoformat(), "end": _end(day, size).isoformat(), "bucket": f"{day:{FORMATS[size]}}"}
            made.append({**ends, "source": name, "count": count, "low": low, "high": low + count})
    return made


def _end(day: date, size: str) -> date:
    """Returns the first day after a bucket."""
    # 32 days on is always in the next month, whose first day is taken.
    return (
        (day + timedelta(days=32)).replace(day=1)
        if size == "month"
        else day + timedelta(days=7 if size == "week" else 1)
    )
