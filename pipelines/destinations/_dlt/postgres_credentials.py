"""dlt's credentials for Postgres, with all that libpq takes.

Why: dlt wants user, password, host and database, and one host of one port; libpq finds what is missing in its own
variables and files, or needs none. Replaced by: optional fields in dlt's PostgresCredentials, and libpq's own parser.
"""

# Not `from __future__ import annotations`: dlt reads the fields' types, not their texts.
import dataclasses
import os
import re
from typing import Any, Final

from dlt.common.configuration import configspec
from dlt.common.typing import TSecretStrValue
from dlt.destinations.impl.postgres.configuration import PostgresClientConfiguration, PostgresCredentials

from gapless.pipelines.destinations._postgres.address import AddressError, parameters

FIELDS = {"dbname": "database", "user": "username", "password": "password", "host": "host", "port": "port"}
"""libpq's name of a parameter -> dlt's field; all others are in `query`."""
VARIABLES = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "service": "PGSERVICE"}
"""libpq's variables for what leads to a database."""
TIMEOUT = "connect_timeout"


@configspec(init=False)
class LibpqCredentials(PostgresCredentials):
    """The parameters of a connection; what is not given libpq looks up itself."""

    database: str | None = None  # type: ignore[assignment]  # dlt's is required
    username: str | None = None  # type: ignore[assignment]  # dlt's is required
    password: TSecretStrValue | None = None  # type: ignore[assignment]  # as above
    host: str | None = None  # type: ignore[assignment]  # dlt's is required
    port: str | None = None  # type: ignore[assignment]  # of several hosts each may have its own

    def parse_native_representation(self, native_value: Any) -> None:
        """Takes a URL or libpq's words. Raises AddressError."""
        if not isinstance(native_value, str):
            raise AddressError("it is no text")
        found = parameters(native_value)
        for name, field in FIELDS.items():
            if name in found:
                setattr(self, field, found.pop(name))
        timeout = str(found.pop(TIMEOUT, self.connect_timeout))
        if not re.fullmatch(r"\s*-?\d{1,9}\s*", timeout, re.ASCII):
            raise AddressError(f"{TIMEOUT} must be a whole number of seconds, such as {TIMEOUT}=10")
        self.connect_timeout = int(timeout)
        self.client_encoding = found.pop("client_encoding", self.client_encoding)
        self.query = found

    def given(self) -> dict[str, str]:
        """Returns libpq's parameters by name, without those that the environment or a service file has."""
        fields = {name: getattr(self, field) for name, field in FIELDS.items()}
        given = {**fields, **self.get_query()}
        # dlt has a value in any case, and what is given wins over libpq's variable.
        if "PGCONNECT_TIMEOUT" in os.environ and self.connect_timeout == PostgresCredentials.connect_timeout:
            given.pop(TIMEOUT)
        return {name: str(value) for name, value in given.items() if value not in (None, "")}

    def place(self, name: str) -> str:
        """Returns a parameter as it is given or in libpq's environment; empty without any."""
        return self.given().get(name) or os.environ.get(VARIABLES[name], "")

    def to_native_representation(self) -> str:
        """Returns libpq's words, with the password."""
        from psycopg2.extensions import make_dsn

        return str(make_dsn(**self.given()))


def catalog_credentials(catalog: Any) -> LibpqCredentials:
    """Returns credentials for the catalog of a DuckLake.

    Why: it is configured as another type of credentials, and its lock needs these. Replaced by: one type in dlt.
    """
    found = LibpqCredentials()
    for field in FIELDS.values():
        setattr(found, field, getattr(catalog, field))
    found.query = dict(catalog.query or {})
    resolved: LibpqCredentials = found.resolve()
    return resolved


@configspec
class LibpqConfiguration(PostgresClientConfiguration):
    """dlt's configuration of the destination with these credentials."""

    destination_type: Final[str] = dataclasses.field(  # type: ignore[misc]  # dlt writes it so, too
        default="postgres", init=False, repr=False, compare=False
    )
    credentials: LibpqCredentials = None  # type: ignore[assignment]  # dlt fills it in

    def data_location(self) -> str:
        """Returns hosts, port and database as far as they are given, and the service for what is not."""
        place = self.credentials.place
        service = place("service")
        named = f"{place('host')}:{place('port') or self.DEFAULT_PORT}/{place('dbname')}"
        # Two files of services may give one name to two databases.
        return f"{named} {service} {os.environ.get('PGSERVICEFILE', '')}".rstrip() if service else named
