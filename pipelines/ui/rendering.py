"""Draws templates. All text is escaped and redacted here, nowhere else; HTML from vendors is shown as text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapless.pipelines.redaction import printable
from gapless.pipelines.ui.address import short, url

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
STATIC = HERE / "static"
WORDS = {
    "bad": ("fail", "error", "reject", "refus", "bounce", "denied", "abort"),
    "some": ("cancel", "warn", "skip", "partial", "expire", "timeout", "paused"),
    "wait": ("pend", "await", "schedul", "queue", "running", "progress", "open", "started"),
    "good": ("complete", "success", "done", "ok", "sent", "deliver", "resolved", "finished"),
}
"""Kind of a status, a class of page.css -> what its name holds. So a status has one colour wherever it is shown."""


def tone(status: object) -> str:
    """Returns the kind of a status by its meaning; empty: it has none that is known."""
    name = str(status or "").lower().replace("_", " ")
    if re.search(r"\b(not|never|no)\b", name):
        return ""
    # The worst one first: "completed with errors" is bad. From the beginning of a word: "broken" is not "ok".
    return next((kind for kind, words in WORDS.items() if re.search(rf"\b({'|'.join(words)})", name)), "")


def when(value: object) -> str:
    """Returns a time in UTC to the minute; a day as it is."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return value.isoformat() if isinstance(value, date) else str(value or "")


def ago(value: datetime | None, now: datetime) -> str:
    """Returns how long ago a time is, such as "3 days ago"."""
    if value is None:
        return "never"
    seconds = (now - value).total_seconds()
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        # From two on, so that no unit needs a singular.
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return "just now"


def plain(body: object) -> str:
    """Returns the text of a message that may be HTML."""
    # A break between lines must not join two words.
    lines = re.sub(r"(?i)<br\s*/?>|</p>|</div>|</li>", "\n", str(body or ""))
    # Unescaped last: what a person wrote as &lt;b&gt; is text and no tag.
    return html.unescape(re.sub(r"<[^<>]*>", "", lines)).strip()


def number(value: object) -> str:
    """Returns a number with separators; anything else as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def cell(value: object) -> str:
    """Returns a cell of a query's result as text."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return when_exact(value) if isinstance(value, datetime) else str(value)


def when_exact(value: datetime) -> str:
    """Returns a time in UTC to the microsecond, as far as it has any."""
    return value.astimezone(UTC).isoformat(sep=" ").removesuffix("+00:00") if value.tzinfo else value.isoformat(" ")


def pretty(value: object) -> str:
    """Returns JSON with line ends; a text that is no JSON as it is."""
    try:
        found = json.loads(value) if isinstance(value, str | bytes) else value
    except ValueError:
        return str(value)
    return json.dumps(found, ensure_ascii=False, indent=2, default=str)


def cut(text: object, longest: int) -> str:
    """Returns at most so many characters of a text: a record may hold megabytes, and a browser draws all of it."""
    shown = str(text)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def coded(text: str) -> Markup:
    """Returns a description as HTML, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(_out(text)))))


def pairs(values: Iterable[str]) -> list[tuple[str, str]]:
    """Returns options of a menu that are called what they are."""
    return [(value, value) for value in values]


def _out(value: object) -> object:
    """Returns what is put into a template: without secrets and hidden characters, and nothing for None."""
    if value is None:
        return ""
    # What a macro has drawn was escaped there already.
    if hasattr(value, "__html__") or not isinstance(value, str):
        return value
    # A tab is layout, and printable() would escape it.
    return "\t".join(printable(part, lines=True) for part in value.split("\t"))


@cache
def static_digest() -> str:
    """Returns a digest of all static files, which is a part of their addresses, so that browsers may keep them."""
    hashed = sha256()
    for file in sorted(STATIC.rglob("*.*")):
        hashed.update(file.name.encode() + file.read_bytes())
    return hashed.hexdigest()[:12]


@cache
def environment() -> Environment:
    """Returns the templates, with what they call."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=_out,
        # A misspelt name fails instead of showing nothing.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"when": when, "plain": plain, "number": number, "tone": tone, "cell": cell, "pretty": pretty}
    made.filters |= {"cut": cut, "short": short, "pairs": pairs, "coded": coded}
    made.globals |= {"ago": ago, "url": url}
    return made


def render(template: str, values: Mapping[str, Any]) -> str:
    """Returns the HTML of a template."""
    return environment().get_template(template).render(values)
