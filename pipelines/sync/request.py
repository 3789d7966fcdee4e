"""Values that describe what a sync reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gapless.sources._ledger.session import Session
from gapless.sources._ledger.window import Window

PACKAGE_RECORDS = 20_000
"""Records that end a load package: memory stays flat, and a crash costs one package."""
PACKAGE_BYTES = 32 * 2**20
"""Bytes of JSON that end a load package of wide records."""
PACKAGE_SECONDS = 60.0
"""Seconds that end a load package of a slow vendor."""


@dataclass(frozen=True)
class SyncRequest:
    """What a sync reads: all that is new, a window of creation times, or single records by id."""

    window: Window = field(default_factory=Window)
    ids: tuple[str, ...] = ()
    backfill: bool = False
    """The window resumes where an earlier run stopped."""
    package_records: int = PACKAGE_RECORDS
    package_seconds: float = PACKAGE_SECONDS
    package_bytes: int = PACKAGE_BYTES


Watch = Callable[[str, Session], None]
"""Called with each source's name and session when its sync begins."""
