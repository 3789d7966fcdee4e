"""A vendor on the loopback interface, a database of the test's own, and the way between them."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from gapless.sources._http.client import Client
from tests.support.databases import Database
from tests.support.oracle import Truth, assert_exact, mismatches
from tests.support.shared import once


def settings(names: Iterable[str]) -> dict[str, str]:
    """What these sources need to reach their fakes, without the base URLs, at once and without waiting."""
    keys = {key.upper(): str(value) for name in names for key, value in SOURCES[name].demo.items()}
    return {**keys, **{f"{name.upper()}_REQUESTS_PER_MINUTE": "1000000" for name in names}}


CREDENTIALS = {key.upper(): str(value) for source in SOURCES.values() for key, value in source.demo.items()}
IN_A_HURRY = {
    **{f"{name.upper()}_REQUESTS_PER_MINUTE": "1000000" for name in SOURCES},
    "GAPLESS_RETRY_BUDGET": "0.05",
}
OTHER_EACH_TIME = {
    "DLT_PROJECT_DIR", "DLT_DATA_DIR", "DESTINATION__POSTGRES__CREDENTIALS",
    "GAPLESS_WEBHOOK_URL", "GAPLESS_WEBHOOK_ON",
}  # fmt: skip
"""Folders, an address that does not matter to another destination, and one that hears of no complete sync."""
OURS = (*(f"{name.upper()}_" for name in SOURCES), "GAPLESS_", "DESTINATION__", "DLT_", "SOURCES__")


def some(values: Iterable[Any], *always: Any) -> list[Any]:
    """Returns `values` as parameters of a test that is dear: those not in `always` run with the sweeps.

    A tuple has the values of several arguments.
    """
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=[] if value in always else pytest.mark.sweep
        )
        for value in values
    ]


LET_THROUGH = httpx.Response(200, text="never sent")
"""What an interception returns that did something, and lets the vendor answer."""
Intercept = Callable[[httpx.Request], httpx.Response | None]


@dataclass
class Interception:
    """What meets a request before the vendor, and whether it has met one."""

    answer: Intercept
    fired: bool = False

    def meet(self, request: httpx.Request) -> httpx.Response | None:
        answer = self.answer(request)
        self.fired = self.fired or answer is not None
        return None if answer is LET_THROUGH else answer


@dataclass
class World:
    """One vendor, and the database that is to hold what it has."""

    name: str
    fake: Any
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    database: Database
    """What is to hold it: a DuckDB file in the folder, unless a test is for another."""
    _interceptions: list[Interception] = field(default_factory=list)
    """Those that were set so far; the last one counts, unless it was taken back."""
    _now: Interception | None = None

    @property
    def intercept(self) -> Intercept | None:
        """Answers in the vendor's place, lets it answer (None), or does something and lets it answer (LET_THROUGH).

        The test fails at its end when none of its requests was met so, unless `may_not_fire` was called.
        """
        return self._now and self._now.answer

    @intercept.setter
    def intercept(self, answer: Intercept) -> None:
        self._now = Interception(answer)
        self._interceptions.append(self._now)

    def may_not_fire(self) -> None:
        """The interception that counts now is there in case of a request that need not come."""
        assert self._now
        self._now.fired = True

    def never_fired(self) -> int:
        """How many interceptions met no request."""
        return sum(not interception.fired for interception in self._interceptions)

    def handle(self, request: httpx.Request) -> httpx.Response:
        answer = self._now.meet(request) if self._now else None
        return self.fake.handle(request) if answer is None else answer

    def fail_after(self, requests: int, status: int = 500) -> None:
        """So many requests are answered, then none."""
        left = iter(range(requests))
        self.intercept = lambda request: None if next(left, None) is not None else httpx.Response(status)

    def mend(self) -> None:
        """The vendor answers again, and to everything."""
        self._now = None
        self.fake.failing.clear()

    def set(self, **settings: str) -> World:
        for name, value in settings.items():
            self.monkeypatch.setenv(name, value)
        return self

    def alone(self) -> World:
        """No other source has its keys: nobody else's host is asked."""
        for need in (need for source in SOURCES.values() for need in source.needs if source.name != self.name):
            self.monkeypatch.delenv(need.upper(), raising=False)
        return self

    def sync(self, **job: Any) -> Outcome:
        """One sync; the vendor's notes of requests begin anew."""
        self.fake.requests.clear()
        (outcome,) = sync([self.name], Target.find(self.database.name), SyncRequest(**job))
        return outcome

    def complete(self, **job: Any) -> Outcome:
        """One sync that must go well."""
        outcome = self.sync(**job)
        assert (outcome.outcome, outcome.error, outcome.failures) == ("complete", None, []), outcome
        return outcome

    def synced(self) -> None:
        """As after `complete()` of a first sync; vendors with equal memories share one, so it takes a fraction.

        For tests of what comes later; whoever tests a first sync makes one.
        """
        # Each test's vendor has a port of its own, and would have to be proven to be the same account.
        self.monkeypatch.setattr(Client, "_below_host", "")
        state = pickle.dumps((self.name, self.database.name, self._memory(), self._settings()))
        made = once(f"synced-{hashlib.sha256(state).hexdigest()[:24]}", self._first_sync)
        self.database.load(made["database"])
        vars(self.fake).update(pickle.loads(Path(made["memory"]).read_bytes()))

    def _first_sync(self, folder: Path) -> dict[str, str]:
        self.complete()
        memory = folder / "memory"
        memory.write_bytes(pickle.dumps(self._memory()))
        saved = self.database.save(folder)
        self.database.remove()
        return {"database": saved, "memory": str(memory)}

    def _memory(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self.fake).items() if name != "_lock"}

    def _settings(self) -> dict[str, str]:
        """Those that tell one sync from another."""
        other_each_time = OTHER_EACH_TIME | self.database.settings.keys()
        ours = {name for name in os.environ if name.startswith(OURS)} - other_each_time
        return {name: os.environ[name] for name in sorted(ours) if not name.endswith("_BASE_URL")}

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query; tables are looked for in the vendor's dataset first."""
        with self._open() as db:
            return list(db.execute(query).fetchall())

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """All rows of a table in some order, but for dlt's note of the load that brought each."""
        with self._open() as db:
            found = db.execute(f"select * from {table}")
            wanted = [number for number, column in enumerate(found.description) if column[0] != "_dlt_load_id"]
            return sorted((tuple(row[number] for number in wanted) for row in found.fetchall()), key=repr)

    def letters(self) -> list[tuple[Any, ...]]:
        return sorted(self.sql("select kind, key, attempts from dead_letters"))

    def assert_exact(self, truth: Truth | None = None) -> None:
        """The dataset holds the vendor's records, all and nothing else."""
        with self._open() as db:
            assert_exact(db, self.name, truth or self.fake.truth())

    def mismatches(self) -> list[str]:
        with self._open() as db:
            return mismatches(db, self.name, self.fake.truth())

    def asked(self, part: str = "") -> int:
        """How many requests of the last sync had `part` in their path."""
        return sum(part in path for _, path, _ in self.fake.requests)

    def _open(self) -> AbstractContextManager[Any]:
        return self.database.opened(self.name)
