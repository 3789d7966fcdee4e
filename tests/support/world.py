"""A vendor on the loopback interface, a DuckDB file in an empty folder, and the way between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync.request import SyncRequest
from gapless.pipelines.sync.run import sync
from gapless.sources import SOURCES
from tests.support.oracle import Truth, assert_exact, mismatches


def settings(names: Iterable[str]) -> dict[str, str]:
    """What these sources need to reach their fakes, without the base URLs, at once and without waiting."""
    keys = {key.upper(): str(value) for name in names for key, value in SOURCES[name].facts.demo.items()}
    return {**keys, **{f"{name.upper()}_REQUESTS_PER_MINUTE": "1000000" for name in names}}


CREDENTIALS = {key.upper(): str(value) for source in SOURCES.values() for key, value in source.facts.demo.items()}
IN_A_HURRY = {
    **{f"{name.upper()}_REQUESTS_PER_MINUTE": "1000000" for name in SOURCES},
    "GAPLESS_RETRY_BUDGET": "0.05",
}
OURS = (*(f"{name.upper()}_" for name in SOURCES), "GAPLESS_", "DESTINATION__", "DLT_", "SOURCES__")


def some(values: Iterable[Any], *always: Any) -> list[Any]:
    """`values` as parameters of a test that is dear: those that are not `always` run with the sweeps."""
    return [pytest.param(value, marks=[] if value in always else pytest.mark.sweep) for value in values]


@dataclass
class World:
    """One vendor, and the database that is to hold what it has."""

    name: str
    fake: Any
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    intercept: Callable[[httpx.Request], httpx.Response | None] = field(default=lambda request: None)
    """Answers in the vendor's place, or lets it answer."""

    def handle(self, request: httpx.Request) -> httpx.Response:
        answer = self.intercept(request)
        return self.fake.handle(request) if answer is None else answer

    def fail_after(self, requests: int, status: int = 500) -> None:
        """So many requests are answered, then none."""
        left = iter(range(requests))
        self.intercept = lambda request: None if next(left, None) is not None else httpx.Response(status)

    def mend(self) -> None:
        self.intercept = lambda request: None
        self.fake.failing.clear()

    def set(self, **settings: str) -> World:
        for name, value in settings.items():
            self.monkeypatch.setenv(name, value)
        return self

    def sync(self, **job: Any) -> Outcome:
        """One sync; the vendor's notes of requests begin anew."""
        self.fake.requests.clear()
        (outcome,) = sync([self.name], Target.find("duckdb"), SyncRequest(**job))
        return outcome

    def complete(self, **job: Any) -> Outcome:
        """One sync that must go well."""
        outcome = self.sync(**job)
        assert (outcome.outcome, outcome.error, outcome.failures) == ("complete", None, [])
        return outcome

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query; tables are looked for in the vendor's dataset first."""
        with self._open() as db:
            db.execute(f"use {self.name}")
            return db.execute(query).fetchall()

    def letters(self) -> list[tuple[Any, ...]]:
        return self.sql("select kind, key, attempts from dead_letters order by all")

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

    def _open(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.folder / "gapless.duckdb"), read_only=True)
