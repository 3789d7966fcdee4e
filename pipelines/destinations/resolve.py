"""Which destination was asked for: what dlt's configuration says of it, and whether it can keep our promises."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException

from gapless.pipelines.destinations.keepalive import with_an_end
from gapless.pipelines.errors import WrongSettings
from gapless.sources import SOURCES

EXTRAS = {"dlt[postgres]": "-e '.[postgres]'", "dlt[sqlalchemy]": "-e '.[sqlite]'"}
"""dlt's extras that are ours, to be installed in the checkout."""


PAGE = "pipelines/docs/DESTINATIONS.md"
KNOWN = (
    *("duckdb", "postgres", "ducklake", "sqlalchemy", "filesystem", "motherduck", "redshift", "snowflake"),
    *("bigquery", "databricks", "clickhouse"),
)
"""What that page has a place for."""


class ResolvedDestination(NamedTuple):
    """See gapless.pipelines.destinations.target.Place."""

    file: Path | None
    identity: str
    kind: str = "duckdb"
    known: Any = None
    beside: Path | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    appends: bool = False


def find(destination: str, default: Path, accept_append: bool = False) -> ResolvedDestination:
    """Raises WrongSettings when there is none of that name, its credentials are missing, or it can only append and
    that is not accepted."""
    if destination == "duckdb" and not _configured("destination.duckdb.credentials"):
        return ResolvedDestination(default, str(default))
    client = _configured_client(destination)
    config, kind = client.config, client.config.destination_type
    appends = "delete-insert" not in (client.capabilities.supported_merge_strategies or ())
    appends = appends or kind == "athena"  # dlt merges there into Iceberg tables alone, and would append in silence
    if appends:
        _check_append(destination, kind, accept_append)
    file = _file(config) if kind == "duckdb" else None
    identity = str(file or f"{destination} {_whereabouts(config)}")
    settings = _settings(client.capabilities)
    return ResolvedDestination(file, identity, kind, _known(config, kind), _beside(config, kind), settings, appends)


def _check_append(destination: str, kind: str, accepted: bool) -> None:
    if kind != "filesystem":
        raise WrongSettings(
            f"destination {destination!r} cannot replace a record together with its child rows in place, so records"
            " would be lost or stand there twice. Choose a database that dlt merges into by delete-insert."
        )
    if not accepted:
        raise WrongSettings(
            f"destination {destination!r} only takes rows on, so a record that changes stands there once per change."
            " --accept-append takes that: of the rows with one key the one with the newest _dlt_load_id counts."
            " Otherwise choose a database that dlt merges into by delete-insert."
        )


def _known(config: Any, kind: str) -> Any:
    """What the modules for Postgres and DuckLake need to know."""
    if kind == "postgres":
        return with_an_end(config.credentials)
    if kind == "ducklake":
        from gapless.pipelines.destinations.ducklake import check

        check(config)
        return config
    return config.credentials if kind == "sqlalchemy" else None


def _beside(config: Any, kind: str) -> Path | None:
    """The file of SQLite, or of a lake's catalog in SQLite: whoever shares it shares the lock beside it."""
    if kind not in ("ducklake", "sqlalchemy"):
        return None
    database = config.credentials.catalog if kind == "ducklake" else config.credentials
    if not database.drivername.startswith("sqlite"):
        if kind == "sqlalchemy":
            raise WrongSettings(
                "of SQLAlchemy's databases SQLite alone is known to get every value right: sqlite:///…"
            )
        return None
    if not database.database or database.database == ":memory:":
        raise WrongSettings("a SQLite database must be a file: sqlite:///gapless.sqlite, or sqlite:////var/lib/…")
    return Path(database.database).resolve()


def _settings(capabilities: Any) -> dict[str, Any]:
    """Where dlt does not say whether a database has transactions, it deletes and inserts in two of them when a table
    has no children: a dead letter could be lost in between."""
    unsaid = capabilities.supports_ddl_transactions and capabilities.supports_transactions is None
    return {"supports_transactions": True} if unsaid else {}


def _file(config: Any) -> Path | None:
    database = getattr(config.credentials, "database", None)
    if not isinstance(database, str) or database == ":memory:":
        return None
    if name := taken(Path(database)):
        raise WrongSettings(
            f"the file {database} is called like the schema {name}, and DuckDB cannot tell the file from the schema."
            " Choose another name in DESTINATION__DUCKDB__CREDENTIALS."
        )
    return Path(database).resolve()


def taken(file: Path) -> str | None:
    """The schema of ours that DuckDB would take a file of this name for: it goes by what is before the first dot."""
    name = file.name.lstrip(".").split(".")[0].lower()
    return name if name in (*SOURCES, "activity") else None


def _configured_client(destination: str) -> Any:
    try:
        return _client(destination)
    except UnknownDestinationModule:
        near = get_close_matches(destination.lower(), KNOWN, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise WrongSettings(
            f"there is no destination {destination!r}, of dlt's own or in its configuration.{hint} {PAGE} lists them."
        ) from None
    except MissingDependencyException as error:
        install = " ".join(EXTRAS.get(name, f'"{name}"') for name in error.dependencies)
        raise WrongSettings(f"destination {destination!r} needs: pip install {install}") from None
    except (ConfigurationException, ValueError, ImportError) as error:
        name = f"DESTINATION__{destination.upper()}__…"
        told = _first_line(error).rstrip(".:")
        raise WrongSettings(f"destination {destination!r}: {told}. Set {name} as {PAGE} shows.") from None


def _client(destination: str) -> Any:
    """dlt's client for a destination, configured but not connected. Its files are nobody else's: this is before any
    lock."""
    with tempfile.TemporaryDirectory(prefix="gapless-probe-") as folder:
        probe = dlt.pipeline(
            "gapless_probe", pipelines_dir=folder, destination=destination, dataset_name="gapless_probe"
        )
        client = probe.destination_client()
        probe.deactivate()
        return client


def _whereabouts(config: Any) -> str:
    """Host and database where dlt knows them, else what it makes of the host."""
    try:
        return str(config.data_location() or config.fingerprint())
    except ConfigurationException:
        return str(config.fingerprint())


def _configured(key: str) -> bool:
    return bool(dlt.config.get(key) or dlt.secrets.get(key))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:300]
