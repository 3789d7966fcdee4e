"""The state machine: what may happen at a vendor, on the wire and to the file, as rules that hypothesis draws from.

An `event` stirs the vendor; an `attempt` syncs, once enough was stirred. What must come of it,
stateful_model.py says.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

import httpx2 as httpx
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from gapless.pipelines.errors import Locked
from gapless.pipelines.sync import run
from gapless.pipelines.sync.request import SyncRequest
from tests.stateful.stateful_model import COUNTED, Model, dying

SYNC_AFTER = 8
"""So much must have happened at the vendor since the last sync: nearly all the time goes into syncs."""
OTHERS = {
    "a window": "sync {name} --since {since} --until {until}",
    "a part": "sync {name} --since {since}",
    "one by its id": "sync {name} --id {id}",
    "a backfill": "backfill {name} --since {since} --until {until}",
    "gaps": "gaps",
    "status": "status",
    "verify": "verify {name}",
    "verify the whole": "verify {name} --whole",
    "repair": "verify {name} --repair",
    "doctor": "doctor",
    "views": "views",
    "plan": "plan {name}",
    "state show": "state show",
    "state rewind": "state rewind {name} --to {since} --yes",
    "state reset": "state reset {name} --yes",
    "publish": "publish published.duckdb",
}
"""What may follow a sync that broke off, by what it is called here."""
minutes = st.integers(0, 59)
which = st.integers(0, 1000)


def event(**given: Any) -> Callable[[Any], Any]:
    """A rule that stirs the vendor."""

    def decorated(happens: Any) -> Any:
        @wraps(happens)
        def counted(self: Model, *args: Any, **chosen: Any) -> None:
            self.stirred += 1
            COUNTED["steps"] += 1
            happens(self, *args, **chosen)

        return rule(**given)(counted)

    return decorated


def attempt(**given: Any) -> Callable[[Any], Any]:
    """A rule that syncs."""

    def decorated(syncs: Any) -> Any:
        @wraps(syncs)
        def counted(self: Model, *args: Any, **chosen: Any) -> None:
            self.stirred = 0
            COUNTED["steps"] += 1
            syncs(self, *args, **chosen)

        return precondition(lambda self: self.stirred >= SYNC_AFTER)(rule(**given)(counted))

    return decorated


class Machine(Model):
    """One vendor and what may happen to it."""

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
        hours = 24 if self.subject.whole or self.subject.one_by_one else 1
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
        keys = [k for k in times if self.subject.whole or times[k] >= self._look_back()]
        if keys:
            key = sorted(keys, key=str)[of % len(keys)]
            self.before.setdefault(key, []).append(self._standing()[key])
            self.subject.edit(self.fake, key, text)

    @event(of=which)
    def delete(self, of: int) -> None:
        keys = sorted(self._times().keys() | self.bad, key=str)
        if keys:
            self._delete(keys[of % len(keys)])

    @event(history=st.integers(0, 4), days=st.integers(0, 5))
    def new_parent(self, history: int, days: int) -> None:
        """With a past."""
        if not self.subject.add_parent:
            return
        parent = self.subject.add_parent(self.fake)[self.subject.parent_id]
        for index in range(history):
            at = self.fake.now - timedelta(days=days, hours=index)
            self.subject.add(self.fake, parent, at=at)

    @event(passed=st.sampled_from([1, 20, 61, 600, 3000]))
    def time_passes(self, passed: int) -> None:
        """Where the vendor keeps records for a while only, what is older goes."""
        if self.subject.source.facts.keeps:
            self.may_have_lost = self.may_have_lost or bool(self.fake.failing)
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
        if self.subject.parents_table and parents:
            self.fake.failing[self.subject.part_of_path(parents[of % len(parents)])] = status

    @precondition(lambda self: self.fake.failing)
    @event()
    def parents_recover(self) -> None:
        self.fake.failing.clear()

    @event(where=which)
    def a_bad_record(self, where: int) -> None:
        row = self._add(where, max(self.fake.now, self._look_back()), **self.subject.with_text([]))
        if row:
            self.bad.add(row[self.subject.id])

    @precondition(lambda self: self.bad)
    @event(of=which)
    def a_bad_record_is_mended(self, of: int) -> None:
        key = sorted(self.bad, key=str)[of % len(self.bad)]
        self.bad.discard(key)
        self.subject.edit(self.fake, key, "mended")

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
        self.interrupted = True
        left = iter(range(after))
        self.intercept = lambda _: None if next(left, None) is not None else httpx.Response(401)
        self._sync(chunk)

    @attempt(after=st.integers(0, 9), where=st.sampled_from(["merge", "copy", "commit"]))
    def a_load_dies(self, after: int, where: str) -> None:
        """In the middle of the package: some tables are merged, others not; or all, and the load is not noted."""
        self.interrupted = True
        with dying(where, after % 3 if where == "commit" else after):
            self._sync(6)

    @precondition(lambda self: self.interrupted)
    @event(command=st.sampled_from([*OTHERS]), hours=st.integers(1, 60), of=which)
    def another_command(self, command: str, hours: int, of: int) -> None:
        """What follows an interruption need be no sync of all; it takes nothing from the next one that is."""
        since, until = (self.fake.now - timedelta(hours=ago) for ago in (2 * hours, hours // 2))
        by_id = self.subject.source.stream.by_id
        keys = sorted(self._standing(), key=str) if by_id == "record" else self._parents()
        given = {"since": since.isoformat(), "until": until.isoformat(), "id": keys[of % len(keys)] if keys else "-"}
        if "{id}" not in OTHERS[command] or by_id:
            self._command(*(word.format(name=self.name, **given) for word in OTHERS[command].split()))

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
                list(run.sync([self.name], self.place, SyncRequest()))
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
    @attempt(again=st.sampled_from([False, False, True]))
    def idle(self, again: bool) -> None:
        """A second sync, in every third case as it costs time, finds nothing to do, and no row looks different."""
        self._must_be_exact(self._sync(10_000))
        if not again:
            return
        before = self._everything()
        self._must_be_exact(self._sync(10_000))
        assert self._everything() == before

    def teardown(self) -> None:
        """Every story ends well."""
        self.fake.failing.clear()
        self._must_be_exact(self._sync(10_000))
        self.file.unlink()
