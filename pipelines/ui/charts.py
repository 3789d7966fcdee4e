"""Charts as the places of their parts: across in percent, down in pixels. The template draws them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from gapless.pipelines.printable import counted
from gapless.sources import SOURCES

FORMATS = {"day": "%d %b %Y", "week": "week of %d %b %Y", "month": "%b %Y"}
HEIGHT = 200
"""Of the columns, in pixels."""
MOST_DAYS, MOST_COUNTS = 6, 5
"""Marks of the axes."""


SHADES = (0.0, 0.45, -0.35, 0.65, -0.55)
"""How far the colours of a vendor's accounts are from its own: towards white, or (below nought) black; then again."""


@dataclass(frozen=True)
class Part:
    """What one source has of a column; `x` and `width` in percent, `y` from the top and `height` in pixels."""

    x: float
    width: float
    y: float
    height: float
    colour: str
    title: str


@dataclass(frozen=True)
class Chart:
    """Stacked columns, and the marks of their axes."""

    parts: list[Part]
    days: list[tuple[float, str]]
    """Places across, and labels."""
    counts: list[tuple[float, int]]
    """Places from the top, and numbers."""
    height: int = HEIGHT


def columns(cells: Sequence[tuple[date, str, int]], colours: Mapping[str, str], size: str, what: str) -> Chart | None:
    """Returns a column for each bucket of `size` that begins at a day, in the colours of the sources.

    Returns None where nothing was counted.
    """
    there = [cell for cell in cells if cell[2] and cell[1] in colours]
    if not there:
        return None
    starts = [*_starts(min(day for day, _, _ in there), max(day for day, _, _ in there), size)]
    first, whole = starts[0], (starts[-1] - starts[0]).days
    step, top = _scale(there)

    def across(day: date) -> float:
        return round(100 * (day - first).days / whole, 3)

    def down(count: int) -> float:
        return round(HEIGHT * (1 - count / top), 2)

    ends, reached, parts = dict(pairwise(starts)), defaultdict[date, int](int), []
    # In one order of the sources, so that a colour has the same place in each column.
    order = [*colours]
    for day, name, count in sorted(there, key=lambda cell: (cell[0], order.index(cell[1]))):
        low, high = reached[day], reached[day] + count
        reached[day], x = high, across(day)
        title = f"{day:{FORMATS[size]}}, {name}: {counted(count, what)}"
        height = round(down(low) - down(high), 2)
        parts.append(Part(x, round(across(ends[day]) - x, 3), down(high), height, colours[name], title))
    every = -(-(len(starts) - 1) // MOST_DAYS)
    days = [(across(day), _label(day, size, whole)) for day in starts[:-1:every]]
    return Chart(parts, days, [(down(count), count) for count in range(0, top + 1, step)])


def _starts(first: date, last: date, size: str) -> Iterator[date]:
    """Yields the first day of each bucket from `first` to `last`, and the day after the last one."""
    while first <= last:
        yield first
        # 32 days on is always in the next month, whose first day is taken.
        after = timedelta(days={"day": 1, "week": 7, "month": 32}[size])
        first = (first + after).replace(day=1) if size == "month" else first + after
    yield first


def _scale(cells: Sequence[tuple[date, str, int]]) -> tuple[int, int]:
    """Returns the step of the marks of the counts, which is 1, 2 or 5 of some power of ten, and the highest mark."""
    sums = defaultdict[date, int](int)
    for day, _, count in cells:
        sums[day] += count
    highest, ten = max(sums.values()), 1
    while highest > 5 * ten * MOST_COUNTS:
        ten *= 10
    step = next(one * ten for one in (1, 2, 5) if highest <= one * ten * MOST_COUNTS)
    return step, -(-highest // step) * step


def _label(day: date, size: str, whole: int) -> str:
    if size == "month":
        return f"{day:%b %Y}"
    return f"{day.day} {day:%b}" if whole < 300 else f"{day.day} {day:%b %Y}"


def colours(names: Collection[str]) -> dict[str, str]:
    """Returns the colours of accounts, in the order of the sources: their vendor's, and shades of it for the others.

    An account keeps its own, whichever others are shown.
    """
    found = {}
    for name in (one for one in SOURCES if one in names):
        own = [one for one in SOURCES if SOURCES[one].vendor == SOURCES[name].vendor]
        found[name] = _shade(SOURCES[name].facts.colour, SHADES[own.index(name) % len(SHADES)])
    return found


def _shade(colour: str, part: float) -> str:
    """Returns a colour as `#rrggbb` that is moved by a part of the way to white, or to black."""
    cells = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    towards = 255 if part > 0 else 0
    return "#" + "".join(f"{round(cell + abs(part) * (towards - cell)):02x}" for cell in cells)
