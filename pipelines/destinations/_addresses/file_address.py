"""Finds what is wrong with the address of a database that is a file, of which dlt takes a piece and drops the rest.

Of an address no piece is said that may be a password.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

PROBE = "gapless_probe"
"""The name that dlt is asked for a file by: one that it names so itself is named in no setting."""
URL = re.compile(r"[\w+.-]+://(?P<host>[^/?]*)/?(?P<path>[^?]*)(?:\?(?P<parameters>.*))?", re.DOTALL)
NO_SLASHES = re.compile(r"(duckdb|sqlite|file):(?!//)", re.IGNORECASE)
"""What a URL begins with, where dlt would take all of it for the name of a file."""
WINDOWS = re.compile(r"[A-Za-z]:[\\/].*|\\\\.*", re.DOTALL)
NO_FILE = re.compile(r":\w+:")
"""dlt's words for other places."""
NAME = re.compile(r"\w{1,40}")
"""A parameter that is shown; another text may be a piece of a password."""


class Form(NamedTuple):
    """How the address of a kind of destination is written."""

    expected: str
    url: str
    """An address of it."""
    what: str = "file"
    parameters: tuple[str, ...] = ()
    """Those that it can have after a question mark and that something reads."""


def problem(text: str, form: Form) -> str | None:
    """Returns what is wrong with an address and what was expected; None if it leads to a file."""
    if found := NO_SLASHES.match(text):
        return f"begins with {found[1]}: and no slashes: expected {form.expected}"
    url = URL.fullmatch(text)
    path = url["path"] if url else text
    if url and url["host"] and form.what == "file":
        return f"names a host, which a file does not have: expected three slashes, as in {form.url}"
    if (url and not path) or NO_FILE.fullmatch(path):
        return f"names no {form.what}: expected {form.expected}"
    if WINDOWS.fullmatch(path) and os.name != "nt" and not os.path.exists(path):
        return f"is a path of Windows, and on this machine a path is like /srv/logs: expected {form.expected}"
    names = [pair.partition("=")[0] for pair in (url["parameters"] or "").split("&")] if url else []
    if unused := [name for name in names if name and name not in form.parameters]:
        shown = ", ".join(name if NAME.fullmatch(name) and name.islower() else "…" for name in unused)
        return f"has parameters after its question mark that nothing reads: {shown}. Take them out"
    return None
