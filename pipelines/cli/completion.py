"""What the shell offers after TAB: sources and destinations by name. Imports no dlt, so that a TAB is instant.

Names alone are looked at in dlt's settings, never a value.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gapless.sources import SOURCES

CHECKOUT = Path(__file__).resolve().parents[2]
PREFIX = "DESTINATION__"


def sources(ctx: Any, incomplete: str) -> list[str]:
    """Those that begin so and are not on the line yet."""
    given = [name for value in ctx.params.values() if isinstance(value, list | tuple) for name in value]
    return [name for name in SOURCES if name.startswith(incomplete) and name not in given]


def destinations(incomplete: str) -> list[str]:
    """`duckdb`, and those that the environment or dlt's files have settings for."""
    found = {"duckdb", *_in_environment(), *_in_files()}
    return sorted(name for name in found if name.startswith(incomplete))


def copies(incomplete: str) -> list[str]:
    """What `gapless copy` can bring the file to: not the file."""
    return [name for name in destinations(incomplete) if name != "duckdb"]


def _in_environment() -> Iterator[str]:
    for name in os.environ:
        if name.startswith(PREFIX) and "__" in name.removeprefix(PREFIX):
            yield name.removeprefix(PREFIX).split("__")[0].lower()


def _in_files() -> Iterator[str]:
    """A file that cannot be read offers nothing: a sync says what is wrong with it, a TAB must not."""
    here = Path(os.environ.get("DLT_PROJECT_DIR", ""))
    folder = next((root / ".dlt" for root in (here, CHECKOUT) if (root / ".dlt").is_dir()), here)
    for name in ("config.toml", "secrets.toml"):
        try:
            section = tomllib.loads((folder / name).read_text()).get("destination")
        except (OSError, ValueError):
            continue
        if isinstance(section, dict):
            yield from (key for key, value in section.items() if isinstance(value, dict))
