"""One vendor as the state machine stirs it, whichever it is, the file that is to hold what it has, and the oracle.

What may happen, and in what order, stands in stateful_rules.py. Nothing here decides anything by chance.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx2 as httpx
import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
from dlt.destinations.job_client_impl import SqlJobClientBase, SqlLoadJob
from hypothesis.stateful import RuleBasedStateMachine
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync import run
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources._http import client as rest
from gapless.sources._incremental.feed import ACCOUNT_CHANGED
from gapless.sources._ledger.session import Session
from tests.contract.subject import Row, Subject
from tests.support.oracle import Truth, instant, mismatches

LOOK_BACK = timedelta(minutes=58)
"""Of 60: whole seconds, and rounding, must not decide."""
COUNTED: Counter[str] = Counter()
NOT_READ_IN_TIME = "lost: the vendor may have deleted records from"


class Model(RuleBasedStateMachine):
    """One vendor, the file that is to hold what it has, and what may be expected of it."""

    subject: Subject
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    told = 0

    def __init__(self) -> None:
        super().__init__()
        Model.told += 1
        self.name = self.subject.name
        work = self.folder / f"{self.name}{Model.told}"
        work.mkdir()
        self.file = work / "gapless.duckdb"
        self.place = Target.of_file(self.file)
        self.fake = self.subject.empty(page_cap=3)
        self.intercept: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.stirred = 0
        self.skew = timedelta(0)
        self.seen_to = datetime.min.replace(tzinfo=UTC)
        """No watermark is past it."""
        self.held: dict[str, dict[Any, Any]] = {table: {} for table in self.fake.truth()}
        """Rows by table and key as the last exact sync left them."""
        self.copies: list[tuple[bytes, dict[str, dict[Any, Any]]]] = []
        self.before: dict[Any, list[Any]] = {}
        """Of rows that changed, what they were: as such one may have been kept before it vanished."""
        self.bad: set[Any] = set()
        self.deleted = False
        """Then all of the newest rows may be gone, as if these were another account's."""
        self.may_have_lost = False
        """Time passed at a vendor that keeps records for a while only, and a parent could not be read meanwhile."""
        self.interrupted = False
        """The last sync broke off."""
        self.monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(self.file))
        self.monkeypatch.chdir(work)
        self.monkeypatch.setattr(rest, "connect", partial(_connected, self._handle))
        self.monkeypatch.setattr(run, "Session", partial(Session, now=lambda: self.fake.now + self.skew))
        self._believe_counts()

    # -- the oracle --------------------------------------------------------------------------------

    def _must_be_exact(self, outcome: Outcome) -> None:
        said = [
            failure
            for failure in outcome.failures
            if not (self.deleted and failure.reason == ACCOUNT_CHANGED.format(stream=self.subject.main))
            and not (self.may_have_lost and NOT_READ_IN_TIME in failure.reason)
        ]
        assert (outcome.error, bool(said)) == (None, bool(self.bad)), outcome.failures
        assert outcome.outcome == ("partial" if outcome.failures else "complete")
        with duckdb.connect(str(self.file), read_only=True) as db:
            found = self._differences(db)
            letters = db.execute(f"select key from {self.name}.dead_letters where healed_at is null").fetchall()
        assert not found, "\n".join(found[:12])
        assert {key for (key,) in letters} == set(map(str, self.bad))
        self.interrupted = False
        self.copies = [*self.copies[-2:], (self.file.read_bytes(), copy.deepcopy(self.held))]
        self._believe_counts()

    def _differences(self, db: duckdb.DuckDBPyConnection) -> list[str]:
        """What stands must be there; what vanished must be as it was held, or as it was served last."""
        served, wanted, choices = self.fake.truth(), {}, []
        standing = self._standing_truth()
        for table, rows in served.items():
            key = self.subject.keys[table]
            name = self.subject.id if table == self.subject.main else self.subject.parent_id
            known = {row[name]: row for row in rows if row[name] not in self.bad}
            there = {value for (value,) in db.execute(f"select {key} from {self.name}.{table}").fetchall()}
            gone = known.keys() - standing[table]
            must = (known.keys() & standing[table]) | self.held[table].keys()
            wanted[table] = {k: known.get(k) or self.held[table][k] for k in must | (gone & there)}
            choices += [(table, k) for k in gone & wanted[table].keys()]
        found = self._against(db, wanted)
        for table, k in choices:
            others = [self.held[table].get(k), *self.before.get(k, ())]
            for other in filter(None, others):
                if any(str(k) in line for line in found):
                    wanted[table][k] = self._of_parent(other, wanted[table][k])
                    found = self._against(db, wanted)
        self.held = wanted
        return found

    def _of_parent(self, other: Any, shown: Any) -> Any:
        """An earlier form of a row with what its vendor tells only beside it."""
        return {**{name: shown[name] for name in self.subject.given if name in shown}, **other}

    def _against(self, db: duckdb.DuckDBPyConnection, wanted: dict[str, dict[Any, Any]]) -> list[str]:
        truth: Truth = {table: list(rows.values()) for table, rows in wanted.items()}
        return mismatches(db, self.name, truth)

    def _standing_truth(self) -> dict[str, set[Any]]:
        standing: dict[str, set[Any]] = {self.subject.main: set(self._standing())}
        if self.subject.parents_table:
            standing[self.subject.parents_table] = set(self._parents())
        beside = {table: rows for table, rows in self.fake.truth().items() if table not in standing}
        return standing | {table: {row[self.subject.parent_id] for row in rows} for table, rows in beside.items()}

    def _everything(self) -> dict[str, list[tuple[Any, ...]]]:
        # A parent with a bad record is read whole the next time, which shows what older ones are gone.
        ignored = "'_dlt_load_id', 'gone_at'" if self.bad else "'_dlt_load_id'"
        columns = f"columns(name -> name not in ({ignored}))"
        with duckdb.connect(str(self.file), read_only=True) as db:
            tables = self.subject.tables
            return {t: db.execute(f"select {columns} from {self.name}.{t} order by all").fetchall() for t in tables}

    # -- the vendor, whichever it is ---------------------------------------------------------------

    def _handle(self, request: httpx.Request) -> httpx.Response:
        answer = self.intercept(request)
        return self.fake.handle(request) if answer is None else answer

    def _sync(self, chunk: int) -> Outcome:
        COUNTED["syncs"] += 1
        self.seen_to = max(self.seen_to, self.fake.now + self.skew)
        (outcome,) = run.sync([self.name], self.place, SyncRequest(package_records=chunk))
        self.intercept = lambda request: None
        return outcome

    def _command(self, *words: str) -> None:
        """Types a command that is no sync of all. It may find fault, and may be refused; it never breaks."""
        COUNTED["commands"] += 1
        self.seen_to = max(self.seen_to, self.fake.now + self.skew)
        done = CliRunner().invoke(app, [*words])
        assert done.exit_code in (0, 1, 2, 3), (words, done.output[-600:])
        assert done.exception is None or isinstance(done.exception, SystemExit), (words, done.output[-600:])

    def _look_back(self, hours: int = 1) -> datetime:
        """What is older may come too late."""
        return self.seen_to - hours * LOOK_BACK if self.seen_to.year > 1 else self.seen_to

    def _parents(self) -> list[Any]:
        return sorted(self.subject.parents(self.fake), key=str)

    def _standing(self) -> dict[Any, Row]:
        return {row[self.subject.id]: row for row in self.subject.records(self.fake)}

    def _times(self) -> dict[Any, datetime]:
        start = datetime(1970, 1, 1, tzinfo=UTC)
        rows = {key: row for key, row in self._standing().items() if key not in self.bad}
        return {k: start + timedelta(microseconds=instant(row[self.subject.time])) for k, row in rows.items()}

    def _add(self, where: int, at: datetime, **fields: Any) -> Any:
        parents = self._parents()
        return self.subject.add(self.fake, parents[where % len(parents)], at=at, **fields) if parents else None

    def _delete(self, key: Any) -> None:
        """A count tells not of one that goes and one that comes: then a parent's ids are listed once a day."""
        self.bad.discard(key)
        self.deleted = True
        self.fake.delete(key)
        self._relist_after("0")

    def _believe_counts(self) -> None:
        self._relist_after("86400")

    def _relist_after(self, seconds: str) -> None:
        self.monkeypatch.setenv(f"{self.subject.prefix}_RELIST_AFTER", seconds)


_connect = rest.connect


def _connected(handle: Any, deadline: Any, transport: Any, workers: int, **how: Any) -> httpx.Client:
    return _connect(deadline, httpx.MockTransport(handle), workers, **how)


@contextmanager
def dying(where: str, after: int) -> Iterator[None]:
    """So many merges, copies or commits go well, then none."""
    kind: Any = {"merge": SqlLoadJob, "copy": DuckDbCopyJob, "commit": SqlJobClientBase}[where]
    name = "complete_load" if where == "commit" else "run"
    real, left = getattr(kind, name), iter(range(after))

    def dies(*args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            raise KeyError("killed")
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, name, dies)
        yield
