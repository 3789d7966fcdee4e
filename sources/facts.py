"""Reads `facts.toml` in a source's folder: what is known of the source besides how it is read.

The facts are not in Python, so that a scheduler can read them without importing the source and dlt.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True)
class Cadence:
    """How often a source should be synced, and how old its newest check may become."""

    cron: str
    """Five fields, UTC."""
    warn_after: timedelta = timedelta(days=1)
    fail_after: timedelta = timedelta(days=3)


@dataclass(frozen=True)
class Facts:
    """The lines of a `facts.toml`; each has a default, so that an empty file will do."""

    cron: str = "0 * * * *"
    """How often it should be synced: five fields, UTC."""
    warn_after_hours: float = 24
    """The newest check is late when it is older than this, and failed when older than `fail_after_hours`."""
    fail_after_hours: float = 72
    keeps_days: float | None = None
    """How long the vendor keeps records by default, where that is documented."""
    not_by_id: str = "the vendor has no endpoint for one record"
    """Why `--id` does not work, where it does not."""
    colour: str = "#8c8c8c"
    """Its colour in the page's pictures."""
    path_words: tuple[str, ...] = ()
    """The vendor's own words in paths; whatever else stands in a path may be an id, and is not shown in a trace."""
    entities: tuple[str, ...] = ()
    """What the timeline's objects are found by, as `table: SQL expression`; Postgres has an index on each."""
    demo: Mapping[str, str] = field(default_factory=dict)
    """Settings for the simulated vendor, without the base URL."""

    @classmethod
    def read(cls, file: Path) -> Facts:
        """Reads a `facts.toml`. Raises ValueError for a line that is not one of the above."""
        found = tomllib.loads(file.read_text(encoding="utf-8"))
        # A misspelt line would else be ignored, and a default used in its place without a word.
        known = {one.name for one in fields(cls)}
        if unknown := found.keys() - known:
            raise ValueError(
                f"{file}: {', '.join(sorted(unknown))} is not known; known are {', '.join(sorted(known))}"
            )
        return cls(**{**found, **{name: tuple(found.get(name, ())) for name in ("path_words", "entities")}})

    @property
    def cadence(self) -> Cadence:
        """Returns how often it should be synced, and when its newest check is late."""
        return Cadence(self.cron, timedelta(hours=self.warn_after_hours), timedelta(hours=self.fail_after_hours))

    @property
    def keeps(self) -> timedelta | None:
        """Returns how long the vendor keeps records; None: not documented."""
        return None if self.keeps_days is None else timedelta(days=self.keeps_days)
