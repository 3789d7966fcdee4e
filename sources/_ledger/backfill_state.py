"""How far a backfill is: a window that is read once, over many load packages, and goes on where it stopped.

Its progress is kept in the source's state, beside what a sync remembers there, and is loaded in the same package as
the rows it speaks of: so it is as true as they are, and any machine can go on with it. Of a walk it is the walk's own
state; of parents, which are read in the order of their ids, the last one before which all are done, and who failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dlt

from gapless.sources._ledger.session import Counters
from gapless.sources._ledger.walk_state import WalkState
from gapless.sources._ledger.window import Window

STATE = "backfills"
"""In the state of a source: progress by window."""


def window_key(window: Window) -> str:
    """What a window is remembered by."""
    return "/".join(bound.astimezone(UTC).isoformat() if bound else "" for bound in (window.since, window.until))


class Backfill:
    """The progress of one window, while dlt extracts; from the beginning if it was finished before.

    The meter is told how much is done.
    """

    def __init__(self, window: Window, counters: Counters) -> None:
        self._mark, self._window, self._meter = window_key(window), window, counters
        kept = self._all().get(self._mark, {})
        self._kept: dict[str, Any] = {} if "done" in kept else kept
        self._failed: dict[str, None] = dict.fromkeys(self._kept.get("failed", ()))
        self._todo: list[str] = []
        self._done: set[str] = set()
        self._passed = self._before = 0
        counters.part = counters.part_before = self._kept.get("part", 0.0)

    def walk(self) -> WalkState:
        """A walk that goes on, or begins."""
        kept = self._kept.get("walk")
        return WalkState.from_json(kept) if kept else WalkState(initial_value=self._window.since)

    def walked(self, progress: WalkState) -> None:
        newest, since = progress.newest, self._window.since
        reached = min((walk.reached for walk in progress.walks if walk.reached), default=None)
        if newest and reached and since and newest > since:
            self._meter.part = max(self._meter.part or 0.0, min(1.0, (newest - reached) / (newest - since)))
        self._keep(walk=progress.to_json())

    def left(self, keys: Iterable[str]) -> list[str]:
        """Those to be read, in the order in which they must be: who failed, then who was not reached.

        A key is an id, or a parent's id, a blank and an id: when the parent failed, all below it are read again.
        """
        every, after = sorted(set(keys)), self._kept.get("after", "")
        named = {*every, *(key.partition(" ")[0] for key in every)}
        self._failed = {key: None for key in self._failed if key in named}  # others are gone at the vendor
        self._todo = [key for key in every if key > after]
        self._before = len(every) - len(self._todo)
        failed = [key for key in every[: self._before] if self._has_failed(key)]
        return [*failed, *self._todo]

    def _has_failed(self, key: str) -> bool:
        return key in self._failed or key.partition(" ")[0] in self._failed

    def done(self, key: str) -> None:
        """All of it was read."""
        self._failed.pop(key, None)
        self._pass(key)

    def failed(self, key: str) -> None:
        """It is tried again when the backfill is asked for once more."""
        self._failed[key] = None
        self._pass(key)

    def _pass(self, key: str) -> None:
        self._done.add(key)
        while self._passed < len(self._todo) and self._todo[self._passed] in self._done:
            self._done.remove(self._todo[self._passed])
            self._passed += 1
        if self._todo:
            self._meter.part = (self._before + self._passed) / (self._before + len(self._todo))
        last = {"after": self._todo[self._passed - 1]} if self._passed else {}
        self._keep(**last, failed=list(self._failed))

    def finish(self) -> None:
        """All was asked; it is done, unless somebody failed."""
        if self._failed:
            self._keep(failed=list(self._failed))
        else:
            self._kept = {"done": datetime.now(UTC).isoformat()}
            self._all()[self._mark] = self._kept

    def _keep(self, **progress: Any) -> None:
        self._kept = {**self._kept, **progress, "part": self._meter.part}
        self._all()[self._mark] = self._kept

    def _all(self) -> dict[str, Any]:
        """Of this source, as the package in hand will have it."""
        state: dict[str, Any] = dlt.current.source_state().setdefault(STATE, {})
        return state
