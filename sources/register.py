"""Which sources there are: ours, packages that the configuration names, and accounts. Imports none of them.

What is wrong with a path is kept, not raised: `--help` and TAB need the register, and commands ask for its problems.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gapless.sources._files.writers import refusal
from gapless.sources.facts import Facts
from gapless.sources.source import Source

DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""Of a source, which is the name of its dataset, too: dlt changes others."""
TAKEN = ("activity", "information_schema", "main", "pg_catalog", "public", "temp")
"""Datasets of the views and of databases."""
RESERVED = (
    # commands, today's and those to come
    "backfill", "compact", "copy", "demo", "doctor", "forget", "gaps", "init", "keep", "mcp", "plan", "privacy",
    "publish", "state", "status", "sync", "ui", "verify", "views",
    # sections of dlt's settings, and what stands for more than one source
    "accounts", "all", "budgets", "data_writer", "destination", "dlt", "extract", "gapless", "load", "normalize",
    "pipeline", "runtime", "schema", "sources", "system",
)  # fmt: skip
"""Names that no account may have."""
SQL_WORDS = """
all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate
collation column concurrently constraint create cross current_date current_role current_time current_timestamp
current_user default deferrable desc describe distinct do else end except exists false fetch for foreign
freeze from full glob grant group having ilike in initially inner intersect interval into is isnull join
lambda lateral leading left like limit localtime localtimestamp map natural not notnull null offset on only or
order outer overlaps partition pivot pivot_longer pivot_wider placing positional primary qualify references
returning right row select semi session_user set show similar some struct summarize symmetric table
tablesample then to trailing true union unique unpivot update user using values variadic verbose when where
window with
"""
"""Words of SQL that no view can name as a dataset without quoting them."""
STAGING = "_staging"
"""Ends the name of the dataset that dlt loads into before it merges."""
LONGEST = 63 - len(STAGING)
"""Characters: Postgres cuts longer names."""
ACCOUNT = "ACCOUNTS__"
KINDS = {"dict": "a section", "list": "a list"}
"""What may stand in place of a vendor's name, and is not repeated: it may hold a key."""


def configured_packages() -> Iterator[object]:
    """Yields the dotted paths of the configuration, read without dlt; what is no text is yielded as it is found."""
    # The environment replaces the file, as it does for the settings that dlt reads.
    if given := os.environ.get("GAPLESS_SOURCES"):
        yield from given.replace(",", " ").split()
        return
    section = _config().get("gapless", {})
    found = section.get("sources", []) if isinstance(section, dict) else []
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


def configured_accounts() -> dict[str, object]:
    """Returns the vendors' names by account, read without dlt; a variable goes before the same name in the file."""
    named = {
        name.removeprefix(ACCOUNT).lower(): value for name, value in os.environ.items() if name.startswith(ACCOUNT)
    }
    found = _config().get("accounts", {})
    return {**(found if isinstance(found, dict) else {"accounts": found}), **named}


def add_accounts(sources: dict[str, Source], accounts: Mapping[str, object]) -> list[str]:
    """Adds a source for each account to those of the vendors; returns what is wrong with accounts that get none."""
    vendors, problems = dict(sources), []
    for name, vendor in accounts.items():
        if problem := _account_problem(name, vendor, vendors):
            problems.append(f"[accounts] {name}: {problem}")
        else:
            sources[name] = Source(name, vendors[str(vendor)].package)
    return problems


def _account_problem(name: str, vendor: object, vendors: Mapping[str, Source]) -> str | None:
    if not isinstance(vendor, str) or vendor not in vendors:
        found = repr(vendor) if isinstance(vendor, str | int | float) else KINDS.get(type(vendor).__name__, "this")
        return f"{found} is no vendor's name; expected one of {', '.join(vendors)}, in quotation marks"
    if name in vendors:
        return f"this is a vendor's name, and its own account has it; choose another, such as {name}_eu"
    if name in (*TAKEN, *RESERVED, *SQL_WORDS.split()) or name.startswith("pg_"):
        return f"this name has another meaning already; choose another, such as {vendor}_{name}"
    if not NAME.fullmatch(name):
        return "this name cannot be a dataset's; expected small letters, digits and single underscores, as acme_eu"
    if len(name) > LONGEST:
        return f"this name has {len(name)} characters; databases take {LONGEST} at most"
    return f"dlt's own tables may have a name that ends in {STAGING}; choose another" * name.endswith(STAGING) or None


def _config() -> dict[str, Any]:
    """Returns dlt's file of settings as it stands; empty where it cannot be read."""
    file = Path(os.environ.get("DLT_PROJECT_DIR", ".")) / ".dlt" / "config.toml"
    try:
        if refusal(file):
            return {}  # a sync says why; what such a file names is not imported
        return tomllib.loads(file.read_text(encoding="utf-8").removeprefix("\ufeff"))
    except (OSError, ValueError):
        return {}  # a sync reads the file again, with dlt, and says what is wrong with it


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
