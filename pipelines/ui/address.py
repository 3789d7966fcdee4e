"""Addresses of the page: each view, filter and object has one that can be sent to somebody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
LONGEST = 8_000
MOST_FIELDS = 50
"""Characters of a value; an address must fit into a header."""
Choices = Callable[[], Mapping[str, str]]
"""Returns what may be chosen: value -> label."""


@dataclass(frozen=True)
class View:
    """One view of the page."""

    name: str
    """Of its address, its template and its module."""
    title: str
    parameters: tuple[str, ...]
    """What its address may hold besides `view`."""
    fetch: Callable[..., Mapping[str, Any]]
    """Takes a Question and returns what its template shows. Any, as each template has values of its own."""
    choices: Mapping[str, Choices] = field(default_factory=dict)
    """Parameters of which only some values make sense."""
    in_menu: bool = True


@dataclass(frozen=True)
class Address:
    """What somebody asks for."""

    view: View
    given: Mapping[str, str] = field(default_factory=dict)
    """The parameters that are set, each one of the view's."""
    ignored: tuple[str, ...] = ()
    """What is not known of the address, in words."""

    def __getitem__(self, name: str) -> str:
        return self.given.get(name, "")

    def url(self, **changes: object) -> str:
        """Returns the address with some parameters changed; an empty one is left out."""
        values = {**self.given, **{name: str(value) for name, value in changes.items() if value is not None}}
        # In the view's own order: whether the address has moved is found by comparing it as a text.
        wanted = {name: values[name] for name in self.view.parameters if values.get(name)}
        return url(self.view.name, **wanted)


def url(view: str, **parameters: str) -> str:
    """Returns the address of a view, relative to the page's."""
    return "?" + urlencode({"view": view, **{name: value for name, value in parameters.items() if value}})


def parse(query: str, views: Mapping[str, View]) -> Address:
    """Returns what a query string asks for; whatever is not known in it is left out, and said."""
    fields = query.split("&")
    pairs = dict(parse_qsl("&".join(fields[:MOST_FIELDS]), keep_blank_values=True))
    name = pairs.pop("view", "") or next(iter(views))
    ignored = [f"Of {len(fields):,} parameters the first {MOST_FIELDS} count"] if len(fields) > MOST_FIELDS else []
    if name not in views:
        # What is said stands on the page, so a long text of somebody else's is cut.
        ignored.append(f"There is no view {name[:80]!r}")
        name = next(iter(views))
    view, given = views[name], dict[str, str]()
    for key, value in pairs.items():
        if key not in view.parameters:
            ignored.append(f"{key[:80]!r} is no filter of {view.title}")
        elif value and key in view.choices and value not in view.choices[key]():
            ignored.append(f"{key} has no value {value[:80]!r}")
        elif len(value) > LONGEST:
            ignored.append(f"{key} is longer than {LONGEST:,} characters")
        elif value:
            given[key] = value
    return Address(view, given, tuple(ignored))


def short(key: object) -> str:
    """Returns an id that is a UUID by its first part; others, and names, by their first 60 characters."""
    shown = str(key)
    if UUID.fullmatch(shown):
        return f"{shown[:8]}…"
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
