"""Notes beside the working files that a sync could not write into the database how it ended, as on a full disk.

Only commands of the same user on the same machine see such a note. No name of a destination may enter.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Unwritten:
    """A sync of which the database knows nothing."""

    at: datetime
    """When it ended."""
    reason: str = ""
    """Empty where the note itself could not be written."""
    times: int = 1
    """How many of them there were in a row."""
    first_at: str = ""
    """When the first of them ended, in ISO 8601; empty where that is not known."""
    begun: bool = False
    """Whether it only began, `at` then: it still runs, or it was killed."""

    @property
    def how(self) -> str:
        """Returns what is known of its end, without a subject."""
        if self.begun:
            return "has not told how it ended: it still runs, or it was killed"
        reason = self.reason or "no reason could be noted, as where a disk is full"
        return f"could not write to the database: {reason}"


def note(path: Path, reason: str) -> None:
    """Notes a sync that ended now, after those that are noted already. Raises nothing."""
    before = noted(path)
    before = None if before and before.begun else before
    times = before.times + 1 if before else 1
    first = (before and before.first_at) or datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError):
        # The file alone says that there was one: its name takes no room on a disk that is full.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.utime(handle)
            file.write(json.dumps({"reason": reason, "times": times, "first_at": first}))
            file.truncate()


def begin(path: Path) -> None:
    """Notes that a sync begins of which the database knows nothing yet, unless something is noted. Raises nothing."""
    with suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps({"reason": "", "times": 1, "first_at": "", "begun": True}))


def carry(path: Path, last: Unwritten) -> None:
    """Notes a sync that another note tells of, with the time of that one. Raises nothing."""
    content = {"reason": last.reason, "times": last.times, "first_at": last.first_at, "begun": last.begun}
    with suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content))
            file.truncate()
        os.utime(path, (last.at.timestamp(), last.at.timestamp()))


def noted(path: Path) -> Unwritten | None:
    """Returns what is noted; None: nothing is."""
    try:
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        found = json.loads(path.read_text(encoding="utf-8"))
        counted = int(found["times"]), str(found["first_at"])
        return Unwritten(at, str(found["reason"]), *counted, begun=found.get("begun") is True)
    except (OSError, OverflowError):
        return None
    except (ValueError, KeyError, TypeError):  # a note that was cut short
        return Unwritten(at)


def clear(path: Path) -> None:
    """Removes the note, as the database knows how the last sync ended. Raises nothing."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
