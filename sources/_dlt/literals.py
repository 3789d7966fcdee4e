"""Writes texts into SQL. Parameters would do, but each engine and driver marks them differently."""

from __future__ import annotations

import re
from typing import Any

PLAIN = re.compile(r"([\w .,@/=+-]+)")
"""Characters that mean nothing in a text of any engine, in a template of Python's, or in a query of SQLAlchemy's."""
CHARACTER = {"sqlite": "char", "clickhouse": "char"}
"""The function that makes a character of its number, by sqlglot's name of the engine, where it is not `chr`."""


def text_literal(text: str, character: str) -> str:
    """Returns a text as an SQL expression; `character` is the engine's function that makes one of its number.

    Every character that is not plain is written by its number, so no text can end the expression.
    """
    parts = [part for part in PLAIN.split(text) if part]
    made = [f"'{part}'" if PLAIN.fullmatch(part) else _by_number(part, character) for part in parts]
    return " || ".join(made) or "''"


def character_function(capabilities: Any) -> str:
    """Returns that function's name for a destination, by its capabilities."""
    return CHARACTER.get(capabilities.sqlglot_dialect, "chr")


def _by_number(part: str, character: str) -> str:
    return " || ".join(f"{character}({ord(one)})" for one in part)
