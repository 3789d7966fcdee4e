"""Finds a destination by its name: what dlt's configuration says of it, and whether it can keep our promises."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, cast

from gapless.pipelines.config.database_file import at_home, odd_name
from gapless.pipelines.config.folders import real_path, temporary_folder
from gapless.pipelines.destinations._addresses.file_address import PROBE
from gapless.pipelines.destinations._addresses.settings import PAGE, check_named, check_texts, wrong_address
from gapless.pipelines.destinations._postgres.address import AddressError
from gapless.pipelines.destinations.backend import Backend
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.printable import can_be_typed, quoted

if TYPE_CHECKING:
    import dlt

    from gapless.pipelines.destinations._dlt.config import ConfigFieldMissingException
    from gapless.pipelines.destinations._dlt.types import Configuration, JobClient
    from gapless.sources._dlt.types import Capabilities

BACKENDS = {
    "bigquery": "backend:BigQuery",
    "duckdb": "duckdb_file:DuckdbFile",
    "ducklake": "ducklake:DuckLake",
    "filesystem": "backend:Folder",
    "postgres": "postgres:PostgresDatabase",
    "redshift": "backend:Redshift",
    "sqlalchemy": "sqlite:SqliteDatabase",
}
"""dlt's name of a kind of destination -> our file and class for it; `Backend` does for all others."""
EXTRAS = {"dlt[postgres]": "-e '.[postgres]'", "dlt[sqlalchemy]": "-e '.[sqlite]'"}
"""dlt's extras that are ours, to be installed in the checkout."""
MODULES = {"psycopg2": EXTRAS["dlt[postgres]"], "sqlalchemy": EXTRAS["dlt[sqlalchemy]"]}
"""What installs a module that our own part of a destination imports, sometimes before dlt does."""
DUCKDB = "destination.duckdb.credentials"
"""Where the file is named: as a text, or as `database` below it, which the environment has by a name of its own."""
CLASS = re.compile(r"`\w+(?:Configuration|Credentials)`")
"""A class of dlt's in its messages."""
SQLALCHEMY = "sqlalchemy."
"""Begins the module of its errors; it may not be installed."""
KNOWN = (*BACKENDS, "motherduck", "snowflake", "databricks", "clickhouse")
"""What that page has a place for; a typing error is compared with these."""


def backend_class(kind: str) -> type[Backend]:
    """Returns our class for a kind of destination as dlt names it: `postgres` or `dlt.destinations.postgres`."""
    file, _, name = BACKENDS.get(kind.rsplit(".", 1)[-1], "backend:Backend").partition(":")
    # Imported when it is used, so that no command waits for the libraries of other destinations.
    found: type[Backend] = getattr(import_module(f"gapless.pipelines.destinations.{file}"), name)
    return found


def backend_of(pipeline: dlt.Pipeline) -> type[Backend]:
    """Returns what is known of the kind of destination that a pipeline has."""
    return backend_class(pipeline.destination.destination_type)


def find(name: str, default: Path, accept_append: bool = False) -> Backend:
    """Returns the destination called `name` in dlt's configuration; `duckdb` without any is the file `default`.

    Raises WrongSettings when there is none of that name, its credentials are missing or cannot work, or it can only
    append and that is not accepted.
    """
    from gapless.pipelines.destinations.duckdb_file import duckdb_file

    # Asked of dlt alone it would be a file named after the pipeline, one for each source.
    if name == "duckdb" and not any(map(_is_set, (DUCKDB, f"{DUCKDB}.database"))):
        return _checked(duckdb_file(default))
    client = _configured_client(name)
    kind = client.config.destination_type
    own = backend_class(kind)
    if own.appends or not _merges(kind, client.capabilities):
        _check_append(name, own, accept_append)
    identity = f"{name} {_location(client.config)}"
    backend = own.of(name, identity, client.config, _settings(client.capabilities))
    check_named(name, backend.paths)
    return _checked(backend)


def _checked(backend: Backend) -> Backend:
    """Returns the same.

    Raises WrongSettings when it cannot work, is to be in a folder that is not there, or may be planted.
    """
    backend.check()
    for path in backend.paths:
        if problem := odd_name(path):
            raise WrongSettings(f"the path {problem}. Write another in DESTINATION__{backend.name.upper()}__….")
    for path in map(real_path, backend.paths):
        # Never made in silence: on a disk that is not mounted a sync would read everything again.
        if not path.parent.is_dir():
            if (home := at_home(path)) != path:
                raise WrongSettings(f"{path}: nothing replaces the ~ in a setting. Write the whole path: {home}")
            if "$" in str(path):
                raise WrongSettings(
                    f"{path}: nothing replaces what begins with $ in a setting. Write the whole path."
                )
            folder = str(path.parent)
            make = f", or make it: mkdir -p {quoted(folder)}" if can_be_typed(folder) else ""
            raise WrongSettings(f"{path}: there is no folder {folder}. Mount its disk{make}")
    return backend


def _merges(kind: str, capabilities: Capabilities) -> bool:
    """Returns whether a record is replaced together with its child rows."""
    # dlt merges in Athena into Iceberg tables alone, and would append to all others in silence.
    return "delete-insert" in (capabilities.supported_merge_strategies or ()) and kind != "athena"


def _check_append(name: str, own: type[Backend], accepted: bool) -> None:
    if not own.appends:
        raise WrongSettings(
            f"destination {name!r} cannot replace a record together with its child rows in place, so records"
            " would be lost or stand there twice. Choose a database that dlt merges into by delete-insert."
        )
    if not accepted:
        raise WrongSettings(
            f"destination {name!r} only takes rows on, so a record that changes stands there once per change."
            " --accept-append takes that: of the rows with one key the one with the newest _dlt_load_id counts."
            " Otherwise choose a database that dlt merges into by delete-insert."
        )


def _settings(capabilities: Capabilities) -> dict[str, bool]:
    """Returns what dlt's class must be told. Where dlt does not say whether a database has transactions, it deletes
    and inserts in two of them when a table has no children: a dead letter could be lost in between."""
    unsaid = capabilities.supports_ddl_transactions and capabilities.supports_transactions is None
    return {"supports_transactions": True} if unsaid else {}


def _configured_client(name: str) -> JobClient:
    from gapless.pipelines.destinations._dlt.config import (
        ConfigFieldMissingException,
        ConfigurationException,
        ConfigValueCannotBeCoercedException,
        MissingDependencyException,
        UnknownDestinationModule,
        ValueNotSecretException,
        wrong_value,
    )

    setting = f"DESTINATION__{name.upper()}__…"
    try:
        return _client(name)
    except UnknownDestinationModule:
        near = get_close_matches(name.lower(), KNOWN, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise WrongSettings(
            f"there is no destination {name!r}, of dlt's own or in its configuration.{hint} {PAGE} lists them."
        ) from None
    except MissingDependencyException as error:
        install = " ".join(EXTRAS.get(name, f'"{name}"') for name in error.dependencies)
        raise WrongSettings(f"destination {name!r} needs: pip install {install}") from None
    except ModuleNotFoundError as error:
        module = (error.name or str(error)).partition(".")[0]
        raise WrongSettings(f"destination {name!r} needs: pip install {MODULES.get(module, module)}") from None
    except ConfigFieldMissingException as error:
        what = " and ".join(_missing(error))
        raise WrongSettings(f"destination {name!r} lacks {what}. Set {setting} as {PAGE} shows.") from None
    except ConfigValueCannotBeCoercedException as error:
        setting = f"DESTINATION__{name.upper()}__…__"
        raise WrongSettings(f"destination {name!r}: {setting}{wrong_value(error)}. {PAGE} explains it.") from None
    except ValueNotSecretException as error:
        raise WrongSettings(
            f"destination {name!r}: {error.key} stands in config.toml, where dlt takes no credentials. Move it to"
            f" secrets.toml beside it, or set {error.key.upper().replace('.', '__')}."
        ) from None
    except Exception as error:
        known = isinstance(error, (ConfigurationException, ValueError, ImportError))
        if not known and not type(error).__module__.startswith(SQLALCHEMY):
            raise
        raise _refused(name, error) from None


def _refused(name: str, error: Exception) -> WrongSettings:
    """Returns what dlt cannot use of a destination's settings, without a class of dlt's."""
    if isinstance(error.__context__, AddressError):
        return wrong_address(name, error.__context__)
    if type(error).__module__.startswith(SQLALCHEMY):
        setting = f"DESTINATION__{name.upper()}__CREDENTIALS"
        what = "is no address that SQLAlchemy knows: expected sqlite:///gapless.sqlite"
        return WrongSettings(f"destination {name!r}: {setting} {what}")
    if sections := getattr(error, "embedded_sections", ()):  # of a text that dlt cannot take apart
        where = f"DESTINATION__{name}__{'__'.join(sections)}".upper()
        what = "is not in a form that this kind of destination takes"
        return WrongSettings(f"destination {name!r}: {where} {what}; {PAGE} shows examples.")
    # dlt's further lines list every place where it looked.
    reason = shorten(str(error).strip().split("\n", 1)[0], 300, placeholder=" …").rstrip(".:")
    reason = CLASS.sub("its settings", reason)
    return WrongSettings(f"destination {name!r}: {reason}. Set DESTINATION__{name.upper()}__… as {PAGE} shows.")


def _missing(error: ConfigFieldMissingException) -> Iterator[str]:
    """Yields the settings that are missing, by their names in the configuration, below `credentials` as well."""
    for field in error.fields:
        below = [getattr(trace, "traces", {}) for trace in error.traces[field]]
        names = sorted({f"{field}.{name}" for fields in below for name in fields})
        yield ", ".join(names) or field


def _client(name: str) -> JobClient:
    """Returns dlt's client, configured but not connected. Its working files are in a folder of its own: this is
    before any lock."""
    import dlt

    with tempfile.TemporaryDirectory(prefix="gapless-probe-", dir=temporary_folder()) as folder:
        kind = dlt.destination(name).destination_type
        check_texts(name, kind.rpartition(".")[2])
        probe = dlt.pipeline(
            PROBE,
            pipelines_dir=folder,
            destination=backend_class(kind).configured(name),
            dataset_name=PROBE,
        )
        client = probe.destination_client()
        probe.deactivate()
        return cast("JobClient", client)


def _location(config: Configuration) -> str:
    """Returns host and database where dlt knows them, else what it makes of the host."""
    from gapless.pipelines.destinations._dlt.config import ConfigurationException

    try:
        return str(config.data_location() or config.fingerprint())
    except ConfigurationException:
        return str(config.fingerprint())


def _is_set(key: str) -> bool:
    import dlt

    return bool(dlt.config.get(key) or dlt.secrets.get(key))
