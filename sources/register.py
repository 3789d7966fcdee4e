"""Which sources there are: ours, and packages that the configuration names by dotted paths. Imports none of them.

What is wrong with a path is kept, not raised: `--help` and TAB need the register, and commands ask for its problems.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from gapless.sources._files.writers import refusal
from gapless.sources.facts import Facts
from gapless.sources.source import Source

DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""Of a source, which is the name of its dataset, too: dlt changes others."""
TAKEN = ("activity", "information_schema", "main", "pg_catalog", "public", "temp")
"""Datasets of the views and of databases."""


def configured_packages() -> Iterator[object]:
    """Yields the dotted paths of the configuration, read without dlt; what is no text is yielded as it is found."""
    # The environment replaces the file, as it does for the settings that dlt reads.
    if given := os.environ.get("GAPLESS_SOURCES"):
        yield from given.replace(",", " ").split()
        return
    file = Path(os.environ.get("DLT_PROJECT_DIR", ".")) / ".dlt" / "config.toml"
    try:
        if refusal(file):
            return  # a sync says why; what such a file names is not imported
        found = tomllib.loads(file.read_text(encoding="utf-8-sig")).get("gapless", {}).get("sources", [])
    except (OSError, ValueError, AttributeError):
        return  # a sync reads the file again, with dlt, and says what is wrong with it
    yield from found if isinstance(found, list) else [found]


def register(packages: Iterable[object]) -> tuple[dict[str, Source], list[str]]:
    """Returns the sources by name, and what is wrong with paths that name none."""
    found: dict[str, Source] = {}
    problems = []
    for package in packages:
        source = Source.at(str(package))
        if not isinstance(package, str) or not DOTTED_PATH.fullmatch(package):
            problems.append(f"{package!r} was found where the dotted path of a package was expected, as acme.okta")
        elif not NAME.fullmatch(source.name) or source.name in TAKEN:
            expected = f"small letters, digits and single underscores, but none of {', '.join(TAKEN)}"
            problems.append(f"{package}: {source.name!r} cannot be a dataset's name; expected {expected}")
        # The same package twice is harmless; two packages of one name would write to one dataset.
        elif found.setdefault(source.name, source) != source:
            other = found[source.name].package
            problems.append(
                f"{package}: {other} has the name {source.name!r}, too; one of the packages must be renamed"
            )
    return found, problems


def package_problem(source: Source) -> str | None:
    """Returns what is wrong with a source's package; imports it."""
    try:
        stream = source.folder and getattr(source.module, "STREAM", None)
        function = getattr(source.module, source.name, None)
        if stream is not None:
            Facts.read(source.folder / "facts.toml")
    except ModuleNotFoundError as error:
        # The package itself is missing, and not something that it imports: the remedies differ.
        if error.name and f"{source.package}.".startswith(f"{error.name}."):
            return "there is no such package; install it, or put the folder that holds it into PYTHONPATH"
        return f"it cannot be imported: {error}"
    # An import runs code of the user, which may raise anything; `gapless doctor` must still end.
    except Exception as error:
        return f"it cannot be read: {type(error).__name__}: {error}"
    if stream is None:
        return "its __init__.py has no STREAM; expected a Feed, a ParentFeed or a DetailFeed of that name"
    return None if callable(function) else f"its __init__.py has no function {source.name}, decorated with @source"
