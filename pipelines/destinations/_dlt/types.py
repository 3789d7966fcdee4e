"""Types of dlt's configuration and destinations, as far as they are used. For type checkers: nothing is imported.

Each kind of destination has classes of its own for these in dlt, and dlt documents none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from dlt.common.destination import Destination

    from gapless.sources._dlt.types import Capabilities

UNKNOWN_TYPE: Literal["text"] = "text"
"""What a column of somebody else's counts as, if it has a type that dlt does not know; nothing of ours is in it."""
DestinationArgument: TypeAlias = "str | Destination[Any, Any]"
"""What `dlt.pipeline(destination=)` takes: a name of dlt's configuration, or a destination."""


class Credentials(Protocol):
    """The address of a database and the login to it."""

    @property
    def drivername(self) -> str:
        """Returns SQLAlchemy's name of the engine, maybe with its driver."""

    @property
    def database(self) -> str | None:
        """Returns the name of the database, or the path of its file."""

    query: dict[str, object] | None
    """Parameters of the connection."""
    client_encoding: str | None
    """Encoding of the texts that libpq sends and gets."""

    def to_native_representation(self) -> str:
        """Returns them in the form that their driver takes, with the password."""

    def get_query(self) -> Mapping[str, str]:
        """Returns the parameters of the connection."""


class Configuration(Protocol):
    """A destination as the user has configured it."""

    destination_type: str

    @property
    def credentials(self) -> object:
        """Returns the login, in dlt's class for this kind of destination."""

    def data_location(self) -> str | None:
        """Returns host and database where dlt knows them. Raises ConfigurationException."""

    def fingerprint(self) -> str:
        """Returns a digest of the host, for kinds of destinations without a location."""


class JobClient(Protocol):
    """dlt's client for one dataset, before it is connected."""

    @property
    def config(self) -> Configuration:
        """Returns the destination's configuration."""

    @property
    def capabilities(self) -> Capabilities:
        """Returns what the destination can do."""
