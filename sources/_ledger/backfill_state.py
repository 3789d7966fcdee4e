"""Resumable progress of a backfill, kept in the source's state.

A backfill reads a window once, over many load packages. Its progress is committed in the same package as the rows, so
any machine can resume it. For a walk the progress is the walk's own state. Parents are read in the order of their
ids, so there the progress is the last id before which all are done, and the ids that failed. A new id may sort before
that one: so a digest of those that are done is kept, in parts, and a part with another digest is read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from zlib import crc32

import dlt

from gapless.sources._dlt.types import State
from gapless.sources._ledger.session import Counters
from gapless.sources._ledger.walk_state import WalkState
from gapless.sources._ledger.window import Window
from gapless.sources._schema.arrow import digest

PARTS = 256
"""Parts of the ids that are done, by a digest of each id; one new id costs reading the others of its part again."""
STATE = "backfills"
"""The key in a source's state that holds the progress, by window."""


def window_key(window: Window) -> str:
    """Returns the key of a window in the state: its bounds in UTC, separated by a slash."""
    return "/".join(bound.astimezone(UTC).isoformat() if bound else "" for bound in (window.since, window.until))


class Backfill:
    """Tracks the progress of one window while dlt extracts; a finished window starts again.

    Updates the share that is done in the counters.
    """

    def __init__(self, window: Window, counters: Counters) -> None:
        self._key, self._window, self._counters = window_key(window), window, counters
        saved = self._all().get(self._key, {})
        # A finished backfill starts again, because a user who repeats it wants the records read again.
        self._progress: State = {} if "done" in saved else saved
        self._failed: dict[str, None] = dict.fromkeys(self._progress.get("failed", ()))
        self._todo: list[str] = []
        self._done: set[str] = set()
        self._passed = self._before = 0
        self._passed_parts: dict[str, str] = {}
        counters.part = counters.part_before = self._progress.get("part", 0.0)

    def walk(self) -> WalkState:
        """Returns the saved walk, or a new one."""
        saved = self._progress.get("walk")
        return WalkState.from_json(saved) if saved else WalkState(initial_value=self._window.since)

    def save_walk(self, progress: WalkState) -> None:
        """Saves the walk after a page, and how much of the window it has read."""
        newest, since = progress.newest, self._window.since
        reached = min((walk.reached for walk in progress.walks if walk.reached), default=None)
        if newest and reached and since and newest > since:
            # A walk that begins at the newest page again must not turn the progress back.
            self._counters.part = max(self._counters.part or 0.0, min(1.0, (newest - reached) / (newest - since)))
        self._save(walk=progress.to_json())

    def remaining(self, keys: Iterable[str]) -> list[str]:
        """Returns the keys to read, in the order to read them: first those that failed, then the others by id.

        A key is an id, or a parent's id, a blank and an id. If the parent failed, all its keys are read again.
        """
        every, after = sorted(set(keys)), self._progress.get("after", "")
        named = {*every, *(key.partition(" ")[0] for key in every)}
        # The vendor does not list the others any more: they would keep the backfill open for ever.
        self._failed = {key: None for key in self._failed if key in named}
        done = [key for key in every if key <= after]
        self._todo, self._before = every[len(done) :], len(done)
        parts = self._progress.get("parts")
        now = _parts(done)
        # An earlier version kept no digests.
        changed = {part for part in now if parts is not None and parts.get(part) != now[part]}
        again = [key for key in done if self._has_failed(key) or _part(key) in changed]
        # Until they are read, they count as failed: the mark may pass them, and the next run must not.
        self._failed |= dict.fromkeys(key for key in again if not self._has_failed(key))
        self._passed_parts = now
        return [*again, *self._todo]

    def _has_failed(self, key: str) -> bool:
        return key in self._failed or key.partition(" ")[0] in self._failed

    def done(self, key: str) -> None:
        """Marks a key as read."""
        self._failed.pop(key, None)
        self._advance(key)

    def failed(self, key: str) -> None:
        """Marks a key as failed: the next run of the backfill tries it again."""
        self._failed[key] = None
        self._advance(key)

    def _advance(self, key: str) -> None:
        self._done.add(key)
        # Parents end in any order; `after` may only pass an id when all ids before it are done.
        while self._passed < len(self._todo) and self._todo[self._passed] in self._done:
            passed = self._todo[self._passed]
            self._done.remove(passed)
            self._passed_parts[_part(passed)] = _joined(self._passed_parts.get(_part(passed), ""), passed)
            self._passed += 1
        if self._todo:
            self._counters.part = (self._before + self._passed) / (self._before + len(self._todo))
        last = {"after": self._todo[self._passed - 1]} if self._passed else {}
        self._save(**last, failed=list(self._failed), parts=dict(self._passed_parts))

    def finish(self) -> None:
        """Marks the window as done, unless a key failed."""
        if self._failed:
            self._save(failed=list(self._failed))
        else:
            self._progress = {"done": datetime.now(UTC).isoformat()}
            self._all()[self._key] = self._progress

    def _save(self, **progress: object) -> None:
        self._progress = {**self._progress, **progress, "part": self._counters.part}
        self._all()[self._key] = self._progress

    def _all(self) -> State:
        """Returns the progress of all windows of this source, which the current package will commit."""
        state: State = dlt.current.source_state().setdefault(STATE, {})
        return state


def _part(key: str) -> str:
    return f"{crc32(key.encode()) % PARTS:x}"


def _joined(before: str, key: str) -> str:
    """Returns the digest of ids, in their order, after one more."""
    # 72 bits tell two parts apart, and all parts together stay at a few kB: dlt stores the state with each package.
    return digest(before, key)[:12]


def _parts(keys: Iterable[str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for key in keys:
        parts[_part(key)] = _joined(parts.get(_part(key), ""), key)
    return parts
