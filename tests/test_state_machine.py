"""Any order of what happens at a vendor, on the wire and to the file: after a clean sync the database is exact.

hypothesis invents the order, one vendor at a time, against an oracle that knows what the README promises: late rows
and edits up to the look-back (of Omni every edit; of Omni and Kizen every late row), rows that vanish kept as they
were held. Clocks are injected, nothing sleeps. The default run is a sample that is the same every time; the sweep is
`STATE_MACHINE_STEPS=10000 pytest -n 2 tests/test_state_machine.py`, other orders with `STATE_MACHINE_SEED=n`.
"""

from __future__ import annotations

import copy
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from dlt.destinations.impl.duckdb.duck import DuckDbCopyJob
from dlt.destinations.job_client_impl import SqlJobClientBase, SqlLoadJob
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pipelines import run
from pipelines.errors import Locked
from pipelines.place import Place
from pipelines.run import Job, Outcome
from sources import SOURCES
from sources._records.flatten import Batch, Table
from sources._rest import client as rest
from sources._sync import chunk
from sources._sync.ledger import StatusChange
from sources._sync.session import Session
from sources._sync.walk import Page, until_older
from sources.tines.fake import TinesFake
from tests.conftest import CREDENTIALS, IN_A_HURRY, World
from tests.test_house_rules import filled
from tests.truth import CONTRACT, KEYS, Truth, instant, mismatches

STEPS = int(os.environ.get("STATE_MACHINE_STEPS", "0"))
SEED = int(os.environ.get("STATE_MACHINE_SEED", "1"))
LENGTH = 50 if STEPS else 18
"""Steps of one story."""
SYNC_AFTER = 6 if STEPS else 8
"""So much must have happened at the vendor since the last sync: most of a second goes into each."""
STORIES = max(1, STEPS // (4 * LENGTH)) if STEPS else 1
"""Of each source."""
MAIN = {"omni": "action_logs", "sequence": "activity_logs", "kizen": "logged_activities", "tines": "action_logs"}
TIME = {"omni": "createdAt", "sequence": "createdAt", "kizen": "logged_at", "tines": "created_at"}
TEXT = {"omni": "summary", "sequence": "origin", "kizen": "notes", "tines": "message"}
LOOK_BACK = timedelta(minutes=58)
"""Of 60: whole seconds, and rounding, must not decide."""
COUNTED: Counter[str] = Counter()

minutes = st.integers(0, 59)
which = st.integers(0, 1000)


def event(**given: Any) -> Callable[[Any], Any]:
    """A rule that stirs the vendor."""

    def decorated(happens: Any) -> Any:
        @wraps(happens)
        def counted(self: Machine, *args: Any, **chosen: Any) -> None:
            self.stirred += 1
            COUNTED["steps"] += 1
            happens(self, *args, **chosen)

        return rule(**given)(counted)

    return decorated


def attempt(**given: Any) -> Callable[[Any], Any]:
    """A rule that syncs."""

    def decorated(syncs: Any) -> Any:
        @wraps(syncs)
        def counted(self: Machine, *args: Any, **chosen: Any) -> None:
            self.stirred = 0
            COUNTED["steps"] += 1
            syncs(self, *args, **chosen)

        return precondition(lambda self: self.stirred >= SYNC_AFTER)(rule(**given)(counted))

    return decorated


class Machine(RuleBasedStateMachine):
    """One vendor, the file that is to hold what it has, and what may be expected of it."""

    name: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    told = 0

    def __init__(self) -> None:
        super().__init__()
        Machine.told += 1
        work = self.folder / f"{self.name}{Machine.told}"
        work.mkdir()
        self.file = work / "gapless.duckdb"
        self.place = Place("duckdb", self.file, str(self.file))
        fakes = import_module(f"sources.{self.name}.fake")
        self.fake = getattr(fakes, f"{self.name.capitalize()}Fake")(page_cap=3)
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
        self.failing: dict[str, str] = {}
        self.monkeypatch.setattr(rest, "connect", partial(_connected, self._handle))
        self.monkeypatch.setattr(run, "Session", partial(Session, now=lambda: self.fake.now + self.skew))
        self._believe_counts()

    # -- what happens at the vendor ----------------------------------------------------------------

    @initialize(records=st.integers(0, 12), stamp=st.sampled_from(["Z", "+02:00", "mixed"]), oldest=st.booleans())
    def begin(self, records: int, stamp: str, oldest: bool) -> None:
        self.fake.stamp = stamp
        if hasattr(self.fake, "order"):
            self.fake.order = "oldest" if oldest else "newest"
        for _ in range(3):
            self.new_parent(0, 0)
        for index in range(records):
            self._add(index, self.fake.now - timedelta(hours=9 * index))

    @event(where=which, ago=st.integers(0, 5))
    def insert(self, where: int, ago: int) -> None:
        self._add(where, max(self.fake.now - timedelta(minutes=ago), self._look_back()))

    @event(where=which, ago=minutes)
    def late(self, where: int, ago: int) -> None:
        """As late as the look-back admits; to vendors whose ids are compared, any time."""
        base = min(self.seen_to, self.fake.now) if self.seen_to.year > 1 else self.fake.now
        hours = 24 if self.name in ("omni", "kizen") else 1
        self._add(where, max(base - hours * timedelta(minutes=ago), self._look_back(hours)))

    @event(where=which, of=which)
    def tie(self, where: int, of: int) -> None:
        """The very time of another row."""
        times = [at for at in self._times().values() if at >= self._look_back()]
        if times:
            self._add(where, sorted(times)[of % len(times)])

    @event(where=which, hours=st.integers(1, 30))
    def from_the_future(self, where: int, hours: int) -> None:
        self._add(where, self.fake.now + timedelta(hours=hours))

    @event(of=which, text=st.sampled_from(["changed", "", "naïve €", None]))
    def change(self, of: int, text: str | None) -> None:
        times = self._times()
        keys = [k for k in times if self.name == "omni" or times[k] >= self._look_back()]
        if keys:
            key = sorted(keys, key=str)[of % len(keys)]
            row = self._standing()[key] | ({"leadId": self.fake._lead_of(key)} if self.name == "omni" else {})
            self.before.setdefault(key, []).append(row)
            self.fake.change(key, **{TEXT[self.name]: text})

    @event(of=which)
    def delete(self, of: int) -> None:
        keys = sorted(self._times().keys() | self.bad, key=str)
        if keys:
            self._delete(keys[of % len(keys)])

    @event(history=st.integers(0, 4), days=st.integers(0, 5))
    def new_parent(self, history: int, days: int) -> None:
        """With a past."""
        if self.name == "sequence":
            return
        add = {"omni": "add_lead", "kizen": "add_type", "tines": "add_action"}[self.name]
        row = getattr(self.fake, add)()
        for index in range(history):
            at = self.fake.now - timedelta(days=days, hours=index)
            self._add_to(row["leadId" if self.name == "omni" else "id"], at)

    @event(passed=st.sampled_from([1, 20, 61, 600, 3000]))
    def time_passes(self, passed: int) -> None:
        """Tines' retention takes what is older than a week."""
        if self.name == "tines":
            self.fake.advance(passed, newcomers=False)
            self.bad &= set(self._standing())
        else:
            self.fake.now += timedelta(minutes=passed)

    @event(off=st.sampled_from([-120, 0, 10]))
    def our_clock_is_off(self, off: int) -> None:
        self.skew = timedelta(minutes=off)

    @event(size=st.integers(1, 7))
    def pages_of_another_size(self, size: int) -> None:
        self.fake.page_cap = size

    @event(of=which, status=st.sampled_from([403, 404, 500]))
    def a_parent_fails(self, of: int, status: int) -> None:
        parents = self._parents()
        if self.name != "sequence" and parents:
            self.fake.failing[f"/{parents[of % len(parents)]}/"] = status

    @precondition(lambda self: self.fake.failing)
    @event()
    def parents_recover(self) -> None:
        self.fake.failing.clear()

    @event(where=which)
    def a_bad_record(self, where: int) -> None:
        row = self._add(where, max(self.fake.now, self._look_back()), **{TEXT[self.name]: []})
        if row:
            self.bad.add(row["id"])

    @precondition(lambda self: self.bad)
    @event(of=which)
    def a_bad_record_is_mended(self, of: int) -> None:
        key = sorted(self.bad, key=str)[of % len(self.bad)]
        self.bad.discard(key)
        self.fake.change(key, **{TEXT[self.name]: "mended"})

    # -- what happens here -------------------------------------------------------------------------

    @attempt(chunk=st.sampled_from([6, 10_000, 10_000]))
    def sync(self, chunk: int) -> None:
        """Nothing goes wrong: exact, unless a parent or a record is known to fail."""
        outcome = self._sync(chunk)
        assert outcome.error is None
        if not self.fake.failing:
            self._must_be_exact(outcome)

    @attempt(after=st.integers(0, 7), chunk=st.sampled_from([3, 6]))
    def the_vendor_breaks_off(self, after: int, chunk: int) -> None:
        left = iter(range(after))
        self.intercept = lambda _: None if next(left, None) is not None else httpx.Response(401)
        self._sync(chunk)

    @attempt(after=st.integers(0, 9), where=st.sampled_from(["merge", "copy", "commit"]))
    def a_load_dies(self, after: int, where: str) -> None:
        """In the middle of the package: some tables are merged, others not; or all, and the load is not noted."""
        with dying(where, after % 3 if where == "commit" else after):
            self._sync(6)

    @attempt(at=st.integers(0, 4), adds=st.booleans(), of=which)
    def the_pages_shift_meanwhile(self, at: int, adds: bool, of: int) -> None:
        """A row comes or goes between two requests of a sync."""
        left = iter(range(at))

        def shift(_: httpx.Request) -> None:
            if next(left, None) is None:
                self.intercept = lambda request: None
                self._add(of, max(self.fake.now, self._look_back())) if adds else self.delete(of)

        self.intercept = shift
        self._sync(10_000)

    @attempt()
    def two_at_once(self) -> None:
        """The second one is told so, and asks nobody."""
        refused = []

        def second(_: httpx.Request) -> None:
            self.intercept = lambda request: None
            with pytest.raises(Locked):
                list(run.sync([self.name], self.place, Job()))
            refused.append(True)

        self.intercept = second
        outcome = self._sync(10_000)
        assert (refused, outcome.error) == ([True], None)

    @precondition(lambda self: self.copies)
    @event(of=which)
    def an_older_copy_comes_back(self, of: int) -> None:
        content, held = self.copies[of % len(self.copies)]
        self.file.write_bytes(content)
        self.held = copy.deepcopy(held)

    @precondition(lambda self: not self.fake.failing)
    @attempt()
    def idle(self) -> None:
        """A second sync finds nothing to do, and no row looks different."""
        self._must_be_exact(self._sync(10_000))
        before = self._everything()
        self._must_be_exact(self._sync(10_000))
        assert self._everything() == before

    def teardown(self) -> None:
        """Every story ends well."""
        self.fake.failing.clear()
        self._must_be_exact(self._sync(10_000))
        self.file.unlink()

    # -- the oracle --------------------------------------------------------------------------------

    def _must_be_exact(self, outcome: Outcome) -> None:
        assert outcome.outcome == ("partial" if self.bad else "complete"), (outcome.error, outcome.failures)
        with duckdb.connect(str(self.file), read_only=True) as db:
            found = self._differences(db)
            letters = db.execute(f"select key from {self.name}.dead_letters where healed_at is null").fetchall()
        assert not found, "\n".join(found[:12])
        assert {key for (key,) in letters} == set(map(str, self.bad))
        self.copies = [*self.copies[-2:], (self.file.read_bytes(), copy.deepcopy(self.held))]
        self._believe_counts()

    def _differences(self, db: duckdb.DuckDBPyConnection) -> list[str]:
        """What stands must be there; what vanished must be as it was held, or as it was served last."""
        served, wanted, choices = self.fake.truth(), {}, []
        standing = self._standing_truth()
        for table, rows in served.items():
            key = KEYS.get(table, "id")
            name = "leadId" if key == "lead_id" else "id"
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
        return {**{name: shown[name] for name in ("action_id", "story_id") if name in shown}, **other}

    def _against(self, db: duckdb.DuckDBPyConnection, wanted: dict[str, dict[Any, Any]]) -> list[str]:
        truth: Truth = {table: list(rows.values()) for table, rows in wanted.items()}
        return mismatches(db, self.name, truth)

    def _standing_truth(self) -> dict[str, set[Any]]:
        parents = {"omni": "leads", "kizen": "activities", "tines": "actions"}
        standing: dict[str, set[Any]] = {MAIN[self.name]: set(self._standing())}
        if self.name in parents:
            standing[parents[self.name]] = set(self._parents())
        return standing

    def _everything(self) -> dict[str, list[tuple[Any, ...]]]:
        columns = "columns(name -> name <> '_dlt_load_id')"
        with duckdb.connect(str(self.file), read_only=True) as db:
            tables = CONTRACT[self.name]
            return {t: db.execute(f"select {columns} from {self.name}.{t} order by all").fetchall() for t in tables}

    # -- the vendor, whichever it is ---------------------------------------------------------------

    def _handle(self, request: httpx.Request) -> httpx.Response:
        answer = self.intercept(request)
        return self.fake.handle(request) if answer is None else answer

    def _sync(self, chunk: int) -> Outcome:
        COUNTED["syncs"] += 1
        self.seen_to = max(self.seen_to, self.fake.now + self.skew)
        (outcome,) = run.sync([self.name], self.place, Job(chunk_records=chunk))
        self.intercept = lambda request: None
        return outcome

    def _look_back(self, hours: int = 1) -> datetime:
        """What is older may come too late."""
        return self.seen_to - hours * LOOK_BACK if self.seen_to.year > 1 else self.seen_to

    def _parents(self) -> list[Any]:
        of = {"omni": "_leads", "kizen": "_types", "tines": "_actions"}
        return sorted(getattr(self.fake, of[self.name])) if self.name in of else [None]

    def _standing(self) -> dict[Any, Any]:
        if self.name == "sequence":
            return dict(self.fake._rows)
        groups = (self.fake._logged if self.name == "kizen" else self.fake._logs).values()
        return {row["id"]: row for group in groups for row in (group.values() if isinstance(group, dict) else group)}

    def _times(self) -> dict[Any, datetime]:
        start = datetime(1970, 1, 1, tzinfo=UTC)
        rows = {key: row for key, row in self._standing().items() if key not in self.bad}
        return {k: start + timedelta(microseconds=instant(row[TIME[self.name]])) for k, row in rows.items()}

    def _add(self, where: int, at: datetime, **fields: Any) -> Any:
        parents = self._parents()
        return self._add_to(parents[where % len(parents)], at, **fields) if parents else None

    def _add_to(self, parent: Any, at: datetime, **fields: Any) -> Any:
        if self.name == "sequence":
            return self.fake.add_log(at=at, **fields)
        return (self.fake.add_logged if self.name == "kizen" else self.fake.add_log)(parent, at=at, **fields)

    def _delete(self, key: Any) -> None:
        """Kizen's count tells not of one that goes and one that comes: then its ids are listed once a day."""
        self.bad.discard(key)
        self.fake.delete(key)
        self.monkeypatch.setenv("KIZEN_RELIST_AFTER", "0")

    def _believe_counts(self) -> None:
        self.monkeypatch.setenv("KIZEN_RELIST_AFTER", "86400")


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


@pytest.mark.parametrize("name", ["omni", "tines"] if STEPS else ["omni"])
def test_the_proof_of_a_load_that_broke_off(
    name: str, world: Callable[[Any], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coverage was merged, the rows it speaks of were not: nobody believes it."""
    here = world(filled(name))
    real, proven = SqlLoadJob.run, threading.Event()

    def merge(job: SqlLoadJob) -> None:
        if job._parsed_file_name.table_name != "coverage":
            proven.wait(2)
            raise KeyError("killed before the merge of any other table")
        real(job)
        proven.set()

    with monkeypatch.context() as patch:
        patch.setattr(SqlLoadJob, "run", merge)
        assert here.sync().outcome == "failed"
    assert proven.is_set()
    here.complete()
    here.assert_exact()


def test_a_bad_record_older_than_the_look_back_heals(world: Callable[[Any], World]) -> None:
    """Its parent is read whole as long as the letter is open, far below the watermark."""
    fake = TinesFake(page_cap=2)
    action = fake.add_action()["id"]
    for days in range(6):
        fake.add_log(action, at=fake.now - timedelta(days=days))
    bad = fake.add_log(action, at=fake.now - timedelta(days=6), message=[])["id"]
    here = world(fake)
    assert here.sync().outcome == "partial"
    fake.change(bad, message="mended")
    here.complete()
    here.assert_exact()
    assert here.letters() == []


@pytest.mark.parametrize("name", SOURCES if STEPS else ["sequence", "tines"])
def test_an_error_that_says_200_ends_no_listing(name: str, world: Callable[[Any], World]) -> None:
    """From the third request on: the sync is not complete, and the next one resumes."""
    here = world(filled(name))
    left = iter(range(2))
    error = httpx.Response(200, json={"error": {"type": "internal", "message": "try again"}})
    here.intercept = lambda request: None if next(left, None) is not None else error
    assert here.sync().outcome in ("failed", "partial")
    here.mend()
    here.complete()
    here.assert_exact()


STATUS = Table("status_changes", StatusChange, ("record_id",), "merge")


@dataclass(frozen=True)
class Entry:
    created_at: datetime


def test_instants_are_compared() -> None:
    """Whatever offset a vendor writes: 08:30-05:00 is later than 13:00Z, so the listing goes on."""
    at = ["2026-03-02T15:00:00+00:00", "2026-03-02T08:30:00-05:00", "2026-03-02T13:10:00+00:00"]
    pages = [Page([Entry(datetime.fromisoformat(text))]) for text in at]
    assert list(until_older(pages, datetime(2026, 3, 2, 13, tzinfo=UTC))) == pages


def test_a_key_that_comes_twice_in_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes there once, as it was seen last, also when its two forms became columns apart."""
    monkeypatch.setattr(chunk, "TOGETHER", 1)
    package = chunk.Chunk()
    for status in ("first", "last"):
        package.add(
            Batch(STATUS, [StatusChange(record_id="1", status=status, seen_at=datetime(2026, 3, 2, tzinfo=UTC))])
        )
    ((_, rows),) = package.tables(STATUS)
    assert rows.column("status").to_pylist() == ["last"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type[Machine]]:
    """The machine of one source."""
    for name, value in {**CREDENTIALS, **IN_A_HURRY, "TINES_BASE_URL": "http://tines.example"}.items():
        monkeypatch.setenv(name, value)
    given = {"folder": tmp_path, "monkeypatch": monkeypatch}
    return lambda name: type(f"Machine of {name}", (Machine,), {"name": name, **given})


@pytest.mark.parametrize("name", SOURCES)
def test_any_order_of_events(name: str, machine: Callable[[str], type[Machine]]) -> None:
    """Whatever happens, in whatever order: the next clean sync is exact, with no letter but those of bad records."""
    how = settings(
        max_examples=STORIES,
        stateful_step_count=LENGTH,
        deadline=None,
        derandomize=not STEPS,
        database=None,
        phases=[Phase.generate] if not os.environ.get("STATE_MACHINE_SHRINK") else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    found = machine(name)
    try:
        run_state_machine_as_test(seed(SEED)(found) if STEPS else found, settings=how)
    finally:
        print(f"{name}: {COUNTED['steps']:,} steps, {COUNTED['syncs']:,} syncs in this process")
