"""What the page reads: the DuckDB file, its published copy as soon as there is one, or Postgres."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.ui.database.in_duckdb import connected_file
from gapless.pipelines.ui.database.in_postgres import connected_server
from gapless.pipelines.ui.database.session import Database


@dataclass(frozen=True)
class UiTarget:
    """What the page reads."""

    target: Target
    copy: Path | None = None
    """The published copy, if one is configured; it is read as soon as it exists."""

    @property
    def file(self) -> Path | None:
        """Returns the copy if it exists, else the DuckDB file; None: it is a database server."""
        # Asked each time, as a sync may publish the first copy while the page runs.
        return self.copy if self.target.file and self.copy and self.copy.exists() else self.target.file

    @property
    def is_copy(self) -> bool:
        """Returns whether the published copy is read."""
        return self.file is not None and self.file != self.target.file

    @property
    def name(self) -> str:
        """Returns what people call it: the file's name, or the destination's."""
        return self.file.name if self.file else self.target.destination

    @property
    def readable(self) -> Target:
        """Returns the target that is read."""
        return Target.of_file(self.file) if self.file and self.is_copy else self.target

    @property
    def state(self) -> object:
        """Returns what differs when the data does; None if that is unknown."""
        if self.file is None:
            return None
        try:
            # A published copy is another file each time, and a sync changes time and size.
            found = self.file.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def connected(self, seconds: float | None = None) -> AbstractContextManager[Database]:
        """Yields the database, whose queries may take `seconds` together; None: as long as those of the page.

        Raises QueryUnavailable while a sync writes, and when nothing was synced yet.
        """
        return connected_server(self.target, seconds) if self.file is None else connected_file(self.file, seconds)


def require_readable(target: Target, what: str) -> None:
    """Raises WrongSettings for a destination that cannot be read; `what` wants to read it."""
    from gapless.pipelines.destinations.postgres import PostgresDatabase

    if target.file is None and not isinstance(target.backend, PostgresDatabase):
        raise WrongSettings(
            f"{what} reads a DuckDB file or Postgres, not destination {target.destination!r}. Leave out"
            " --destination, or make a copy: gapless copy --to NAME."
        )
