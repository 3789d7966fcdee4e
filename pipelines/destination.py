"""Which destination was asked for: what dlt's configuration says of it, and whether it can keep our promises."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException

from pipelines.errors import WrongSettings
from pipelines.wire import with_an_end
from sources import SOURCES


class Found(NamedTuple):
    """See pipelines.place.Place."""

    file: Path | None
    identity: str
    kind: str = "duckdb"
    credentials: Any = None


def find(destination: str, default: Path) -> Found:
    """Raises WrongSettings when there is none of that name, its credentials are missing, or it can only append."""
    if destination == "duckdb" and not _configured("destination.duckdb.credentials"):
        return Found(default, str(default))
    client = _configured_client(destination)
    config = client.config
    if "delete-insert" not in (client.capabilities.supported_merge_strategies or ()):
        raise WrongSettings(
            f"destination {destination!r} cannot replace a record together with its child rows in place, so records"
            " would be lost or stand there twice. Choose a database that dlt merges into by delete-insert."
        )
    file = _file(config) if config.destination_type == "duckdb" else None
    credentials = with_an_end(config.credentials) if config.destination_type == "postgres" else None
    identity = str(file or f"{destination} {_whereabouts(config)}")
    return Found(file, identity, config.destination_type, credentials)


def _file(config: Any) -> Path | None:
    database = getattr(config.credentials, "database", None)
    if not isinstance(database, str) or database == ":memory:":
        return None
    if Path(database).stem in SOURCES:
        raise WrongSettings(
            f"the file {database} is called like a source, and DuckDB cannot tell the file from the dataset."
            " Choose another name in DESTINATION__DUCKDB__CREDENTIALS."
        )
    return Path(database).resolve()


def _configured_client(destination: str) -> Any:
    try:
        return _client(destination)
    except UnknownDestinationModule:
        raise WrongSettings(
            f"there is no destination {destination!r}, of dlt's own or in its configuration"
        ) from None
    except MissingDependencyException as error:
        install = " ".join(f'"{name}"' for name in error.dependencies)
        raise WrongSettings(f"destination {destination!r} needs: pip install {install}") from None
    except (ConfigurationException, ValueError, ImportError) as error:
        raise WrongSettings(f"destination {destination!r}: {_first_line(error)}") from None


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
