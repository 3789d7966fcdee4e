"""Shell completion: offers sources and destinations by name. Imports no dlt, so that TAB is instant.

It reads the names of dlt's settings and never a value.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import typer

from gapless.sources import SOURCES
from gapless.sources._files.writers import refusal

CHECKOUT = Path(__file__).resolve().parents[2]
PREFIX = "DESTINATION__"


def sources(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the sources that start with `incomplete` and are not on the command line yet."""
    given = [name for value in ctx.params.values() if isinstance(value, list | tuple) for name in value]
    return [name for name in SOURCES if name.startswith(incomplete) and name not in given]


def destinations(incomplete: str) -> list[str]:
    """Returns `duckdb` and the destinations that the environment or dlt's files configure."""
    found = {"duckdb", *_in_environment(), *_in_files()}
    return sorted(name for name in found if name.startswith(incomplete))


def copies(incomplete: str) -> list[str]:
    """Returns the destinations that `gapless copy` can write to: all but the file it reads."""
    return [name for name in destinations(incomplete) if name != "duckdb"]


def _in_environment() -> Iterator[str]:
    for name in os.environ:
        if name.startswith(PREFIX) and "__" in name.removeprefix(PREFIX):
            yield name.removeprefix(PREFIX).split("__")[0].lower()


def _in_files() -> Iterator[str]:
    """Yields the destinations in dlt's files. A broken file yields none: a sync reports it, TAB must not."""
    here = Path(os.environ.get("DLT_PROJECT_DIR", ""))
    # The same choice as in config.py, made without dlt.
    folder = next((root / ".dlt" for root in (here, CHECKOUT) if (root / ".dlt").is_dir()), here)
    for name in ("config.toml", "secrets.toml"):
        try:
            if refusal(folder / name):
                continue
            section = tomllib.loads((folder / name).read_text(encoding="utf-8-sig")).get("destination")
        # ValueError is a file that is not valid TOML, or not text.
        except (OSError, ValueError):
            continue
        if isinstance(section, dict):
            yield from (key for key, value in section.items() if isinstance(value, dict))
