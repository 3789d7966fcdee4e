"""Checks the settings that have a destination's address, before and after dlt has read them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gapless.pipelines.destinations._addresses.file_address import PROBE, Form, problem
from gapless.pipelines.destinations._postgres.address import UNCLEAR, AddressError, is_unclear
from gapless.pipelines.errors import WrongSettings

PAGE = "pipelines/docs/DESTINATIONS.md"
OTHER_ADDRESS = re.compile(r"(?!duckdb:)(?:[a-z][\w+.-]+://|(?:md|motherduck|ducklake|sqlite|postgres|mysql):)", re.I)
"""How the address of something else than a DuckDB file begins."""
IN_MEMORY = re.compile(r"sqlite[\w+]*:/{2,3}(?:\?.*)?|.*:memory:.*", re.DOTALL)
"""An address without a file, which SQLite keeps in memory, or dlt in a file that it names itself."""
SQLITE = Form("sqlite:///gapless.sqlite (three slashes)", "sqlite:///gapless.sqlite")
FORMS = {
    "duckdb": {
        "credentials": Form("a path, or duckdb:///gapless.duckdb (three slashes)", "duckdb:///gapless.duckdb"),
        "credentials.database": Form("a path", "gapless.duckdb"),
    },
    # Seconds to wait for another program's lock, the one that SQLAlchemy hands on and that does no harm.
    "sqlalchemy": {"credentials": Form(SQLITE.expected, SQLITE.url, parameters=("timeout",))},
    "ducklake": {"credentials.catalog": SQLITE},
}
"""Of a kind of destination the settings that name its file, below `destination.NAME`."""
SQLITE_URL = re.compile(r"sqlite[\w+]*:", re.IGNORECASE)
DATABASE_AS_HOST = re.compile(r"(?:md|motherduck)://(?!/.)", re.IGNORECASE)
"""MotherDuck's address with two slashes: dlt takes the name for a host, and another database."""


def check_texts(name: str, kind: str) -> None:
    """Raises WrongSettings for a text that cannot be the address of the destination `name`, which is of a kind.

    That is a URL in which nobody can tell where the password ends, as a message would show it; a database in memory;
    what dlt would read a part of; and the address of a lake's files at a place where dlt does not look for it.
    """
    place = f"destination.{name}.credentials"
    _check_in_memory(name)
    for key in ("credentials", "credentials.catalog"):
        if is_unclear(text_of(f"destination.{name}.{key}")):
            raise wrong_address(name, AddressError(UNCLEAR), key)
    if kind == "ducklake":
        _check_lake(place)
    if kind == "motherduck" and DATABASE_AS_HOST.match(text_of(place)):
        raise WrongSettings(f"{variable(place)} names no database: expected md:DATABASE or md:///DATABASE; {PAGE}")
    if kind == "duckdb":
        _check_other(name)
    for key, form in FORMS.get(kind, {}).items():
        text = text_of(f"destination.{name}.{key}").strip()
        if (kind == "duckdb" or SQLITE_URL.match(text)) and text and (found := problem(text, form)):
            raise WrongSettings(f"{variable(f'destination.{name}.{key}')} {found}.")


def check_named(name: str, paths: Iterable[Path]) -> None:
    """Raises WrongSettings for a file that dlt has named itself, as the settings name none."""
    texts = "".join(text_of(f"destination.{name}.credentials{end}") for end in ("", ".database"))
    if PROBE not in texts and any(path.stem == PROBE for path in paths):
        form = FORMS["duckdb"]["credentials"]
        raise WrongSettings(f"{variable(f'destination.{name}.credentials')} names no file: expected {form.expected}.")


def wrong_address(name: str, error: AddressError, key: str = "credentials") -> WrongSettings:
    """Returns the error for an address of Postgres, or of another server."""
    setting = variable(f"destination.{name}.{key}")
    return WrongSettings(f"destination {name!r}: {setting} cannot be used: {error}. {PAGE} shows examples.")


def variable(key: str) -> str:
    """Returns a key of dlt's configuration as the environment has it."""
    return key.upper().replace(".", "__")


def text_of(key: str) -> str:
    """Returns a setting that is a text; empty for sections and what is not set."""
    import dlt

    found: object = dlt.secrets.get(key) or dlt.config.get(key)
    return found if isinstance(found, str) else ""


def _check_in_memory(name: str) -> None:
    """Raises WrongSettings for a database that is gone when the command ends."""
    place = f"destination.{name}.credentials"
    if text_of(f"{place}.drivername").startswith("sqlite") and not text_of(f"{place}.database"):
        raise WrongSettings(f"{variable(place)}__DATABASE is not set: it must be a SQLite file's path")
    for key in (place, f"{place}.database", f"{place}.catalog", f"{place}.catalog.database"):
        if IN_MEMORY.fullmatch(text_of(key)):
            raise WrongSettings(
                f"{variable(key)} must be a file: a database in memory is gone when the command ends, and the next"
                " one would read everything again."
            )


def _check_lake(place: str) -> None:
    """Raises WrongSettings for a text in place of the two sections that a lake's address has."""
    if text_of(f"{place}.storage"):
        setting = variable(f"{place}.storage")
        raise WrongSettings(
            f"{setting} is a section, not a text: the folder of a lake's files is {setting}__BUCKET_URL"
        )
    if text_of(place):
        raise WrongSettings(
            f"{variable(place)} is a section, not a text: a lake has a {variable(place)}__CATALOG, such as"
            f" sqlite:///catalog.sqlite, and a {variable(place)}__STORAGE__BUCKET_URL"
        )


def _check_other(name: str) -> None:
    """Raises WrongSettings for the address of another database, of which DuckDB would take the end for a file."""
    key = f"destination.{name}.credentials"
    if found := OTHER_ADDRESS.match(text_of(key).strip()):
        raise WrongSettings(
            f"{variable(key)} begins with {found[0]}, and the destination {name!r} is a DuckDB file: expected its"
            f" path. Another kind of database is named by --destination; {PAGE} lists them."
        )
