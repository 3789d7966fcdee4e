"""Makes HTML and SVG for the page: tables, charts, messages. All text is escaped and redacted here, nowhere else.

HTML from vendors is shown as text. No query may enter.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from gapless.pipelines.redaction import printable

GREY, GREEN, PALE, RED = "#d3d8df", "#6fb07c", "#c3e2c9", "#d43d3d"
"""Not read, proven, read and empty, missing or failed."""
WIDTH = 1180.0
"""Units of a chart's view box; the browser scales it."""
CELL_LENGTH = 300
"""Characters of a cell; its tooltip has the whole text."""


class Markup(str):
    """HTML that was made here, so it is not escaped again."""


@dataclass(frozen=True)
class Bar:
    """A bar in a chart; `start` and `end` are fractions of its width."""

    start: float
    end: float
    colour: str
    title: str
    """The text of its tooltip."""
    kind: str = ""
    """Its class of page.css."""


def text(value: object, longest: int = 0) -> Markup:
    """Returns a value as escaped text; more than `longest` characters are cut and stand in the tooltip."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup('<span class="none">-</span>')
    written = when(value) if isinstance(value, datetime) else f"{value:,}" if isinstance(value, int) else str(value)
    shown = printable(written, lines=True)  # a record's text may have several
    if longest and len(shown) > longest:
        # The tooltip is cut as well: a record may hold megabytes, and a browser reads all of it.
        return titled(shown[:longest] + "…", shown[:4000])
    return Markup(html.escape(shown))


def when(value: datetime | None) -> str:
    """Returns a time in UTC to the minute, or "never"."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}" if value else "never"


def ago(value: datetime | None, now: datetime) -> str:
    """Returns how long ago a time is, such as "3 days ago"."""
    if value is None:
        return "never"
    seconds = (now - value).total_seconds()
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return "just now"


def plain(body: str) -> str:
    """Returns the text of a message that may be HTML."""
    # A break between lines must not join two words.
    lines = re.sub(r"(?i)<br\s*/?>|</p>|</div>|</li>", "\n", body)
    return html.unescape(re.sub(r"<[^<>]*>", "", lines)).strip()


def badge(label: str, kind: str) -> Markup:
    """Returns a coloured label; `kind` is a class of page.css: good, some, bad."""
    return Markup(f'<span class="badge {kind}">{html.escape(label)}</span>')


def titled(label: str, title: str) -> Markup:
    """Returns a text with a tooltip."""
    return Markup(f'<span title="{html.escape(printable(title, lines=True))}">{html.escape(label)}</span>')


def linked(kind: str | None, key: str | None, label: str = "") -> Markup:
    """Returns a link to the timeline of an object, such as a lead."""
    if not kind or not key:
        return text(None)
    shown = html.escape(printable(label or f"{kind.lower()} {key}"))
    return Markup(f'<a class="entity" href="?object={quote(f"{kind}:{key}", safe="")}">{shown}</a>')


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> Markup:
    """Returns a table with the columns of numbers aligned right; without rows, a notice."""
    made = list(rows)
    if not made:
        return notice("Nothing to show here.")
    numbers = [all(isinstance(row[i], int | float) for row in made) for i in range(len(columns))]
    sides = [' class="number"' if number else "" for number in numbers]
    head = "".join(f"<th{side}>{html.escape(name)}</th>" for name, side in zip(columns, sides, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{s}>{text(v, CELL_LENGTH)}</td>" for v, s in zip(row, sides, strict=True)) + "</tr>"
        for row in made
    )
    return Markup(f'<table class="rows {kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def notice(message: str, remedy: str = "") -> Markup:
    """Returns a message in place of a view, and the next step below it."""
    more = f'<div class="mends">{text(remedy)}</div>' if remedy else ""
    return Markup(f'<div class="notice">{text(message)}{more}</div>')


def section(title: str, *parts: str, hint: str = "") -> Markup:
    """Returns a part of a view under a heading; `parts` are HTML."""
    note = f' <span class="hint">{html.escape(hint)}</span>' if hint else ""
    return Markup(
        f'<section><div class="h2" role="heading" aria-level="2">{text(title)}{note}</div>{"".join(parts)}</section>'
    )


def page(*parts: str) -> str:
    """Returns the element that page.css styles."""
    return f'<div class="gapless">{"".join(parts)}</div>'


def legend(colours: dict[str, str]) -> Markup:
    """Returns the legend of a chart: name -> colour."""
    keys = (
        f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>' for name, colour in colours.items()
    )
    return Markup(f'<div class="legend">{"".join(keys)}</div>')


def columns(buckets: Sequence[str], series: dict[str, Sequence[int]], colours: dict[str, str]) -> Markup:
    """Returns a chart with a stacked column for each bucket, such as a day."""
    height, left, foot = 200.0, 56.0, 22.0
    totals = [sum(values) for values in zip(*series.values(), strict=True)]
    top, step = max(totals, default=0) or 1, (WIDTH - left) / max(1, len(buckets))
    marks = [_level(height, top, part, left) for part in (0, 0.5, 1)]
    for index, bucket in enumerate(buckets):
        base = height
        for name, values in series.items():
            tall = values[index] / top * (height - 10)
            base -= tall
            if values[index]:
                title = f"{bucket}: {name} {values[index]:,}"
                # At least 0.8 units high, or a day with a few records would vanish beside a busy one.
                marks.append(_rect(left + index * step, base, max(1, step - 1), max(0.8, tall), colours[name], title))
        # About eight dates, so that they do not run into each other.
        if index % max(1, len(buckets) // 8) == 0:
            marks.append(f'<text x="{left + index * step:.1f}" y="{height + 16}">{html.escape(bucket)}</text>')
    return _svg("columns", height + foot, marks)


def _level(height: float, top: int, part: float, left: float) -> str:
    """Returns a line across the chart at a `part` of its height, with the number that it stands for."""
    y = height - part * (height - 10)
    line = f'<line x1="{left}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e6e9ee"/>'
    return f'{line}<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{round(top * part):,}</text>'


def strip(bars: Iterable[Bar], height: float = 16) -> Markup:
    """Returns a chart of one line with the bars on it."""
    marks = [
        # At least 3 units wide: a gap of minutes in a year must be seen.
        _rect(bar.start * WIDTH, 0, max(3.0, (bar.end - bar.start) * WIDTH), height, bar.colour, bar.title, bar.kind)
        for bar in bars
    ]
    return _svg("strip", height, marks, ' preserveAspectRatio="none"')


def shares(parts: Sequence[tuple[str, int, str]]) -> Markup:
    """Returns one line divided by counts; each part is a name, a count and a colour."""
    whole, start, bars = sum(count for _, count, _ in parts) or 1, 0.0, []
    for name, count, colour in parts:
        bars.append(Bar(start, start + count / whole, colour, f"{name}: {count:,} ({count / whole:.0%})"))
        start += count / whole
    return strip(bars, 20)


def _rect(x: float, y: float, wide: float, tall: float, colour: str, title: str, kind: str = "") -> str:
    """Returns a rectangle with a tooltip; units of the view box."""
    placed = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
    shown = html.escape(printable(title, lines=True))
    return f'<rect class="{kind}" {placed} fill="{colour}"><title>{shown}</title></rect>'


def _svg(kind: str, height: float, marks: Iterable[str], more: str = "") -> Markup:
    """Returns a chart of the full width, `height` units high."""
    box = f'viewBox="0 0 {WIDTH:.0f} {height:.0f}"{more}'
    return Markup(f'<svg class="{kind}" {box} role="img">{"".join(marks)}</svg>')


def scale(start: datetime, end: datetime) -> Markup:
    """Returns the dates below a strip."""
    step = (end - start) / 4
    dates = "".join(f"<span>{start + step * n:%Y-%m-%d}</span>" for n in range(5))
    return Markup(f'<div class="scale">{dates}</div>')


def fraction(at: datetime, start: datetime, end: datetime) -> float:
    """Returns where a time lies between two others, from 0 to 1."""
    return min(1.0, max(0.0, (at - start) / max(end - start, timedelta(seconds=1))))


def speech(inbound: bool, head: str, subject: str | None, body: str | None) -> Markup:
    """Returns one message of a conversation, on the left if `inbound`, else on the right."""
    title = f"<b>{text(subject)}</b>" if subject else ""
    paragraph = f"<p>{text(plain(body or ''))}</p>"
    side = "in" if inbound else "out"
    return Markup(f'<div class="speech {side}"><div class="head">{text(head)}</div>{title}{paragraph}</div>')
