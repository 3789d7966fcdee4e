"""Stories of records and parents that come late, move or go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import httpx2 as httpx

from tests.lab.scenarios.answers import Answer
from tests.lab.scenarios.bends import later, parents, records
from tests.lab.scenarios.histories.common import (
    DAY,
    History,
    Play,
    add,
    counts,
    deletes,
    first_parent,
    has_parents,
)
from tests.lab.scenarios.stage import Stage, everything


def _late(*ages: timedelta) -> Play:
    def play(here: Stage) -> None:
        here.sync()
        add(here, *ages)
        here.sync()
        here.fake.advance(30)
        here.sync()

    return play


def _hidden(*, told: bool) -> Play:
    """The newest record is served only later; `told`: the total has it already."""

    def play(here: Stage) -> None:
        (key,) = add(here, timedelta(minutes=2))
        hide = _without(here, {str(key)}, told=told)
        here.intercept(hide)
        # What no page shows and no total tells cannot be known.
        here.sync(scope=everything) if told else here.gapless("sync", here.name)
        here.whole()
        here.sync()

    return play


def _without(here: Stage, keys: set[str], *, told: bool) -> Callable[[httpx.Request], httpx.Response | None]:
    def answer(request: httpx.Request) -> httpx.Response | None:
        page = Answer(here.subject, here.fake, request)
        if page.kind == "records":
            left = [row for row in page.rows if str(row[here.subject.id]) not in keys]
            missing = len(page.rows) - len(left)
            page.rows = left
            return page.sent() if told or not missing else page.total(lambda n: n - missing).sent()
        return page.response

    return answer


def _changed(here: Stage) -> None:
    """A record of the last minutes gets another text."""
    (key,) = add(here, timedelta(minutes=1))
    here.sync()
    here.subject.edit(here.fake, key, "changed")
    here.sync()


def _deleted_and_late(here: Stage) -> None:
    """The vendor deletes one record and shows a late one: the count is the same."""
    row = min(here.subject.records(here.fake), key=here.age)
    here.fake.delete(row[here.subject.id])
    add(here, timedelta(minutes=20))
    here.sync()


def _between_pages(*, delete: bool, first: bool) -> Play:
    """While pages are read one record comes; with `delete` another one goes, so the count is the same."""

    def play(here: Stage) -> None:
        if not first:
            here.fake.advance(60)
        done = iter([True])

        def answer(request: httpx.Request) -> httpx.Response | None:
            page = Answer(here.subject, here.fake, request)
            if later(page) and records(page) and next(done, False):
                here.fake.requests.pop()
                if delete:
                    newest = max(here.subject.records(here.fake), key=here.age)
                    here.fake.delete(newest[here.subject.id])
                add(here, timedelta(minutes=10))
                return None
            return page.response

        here.intercept(answer)
        # What came while it was read is the next sync's.
        here.gapless("sync", here.name)
        here.whole()
        here.sync()

    return play


def _parent_goes(*, back: bool) -> Play:
    def play(here: Stage) -> None:
        assert here.subject.delete_parent
        here.subject.delete_parent(here.fake, first_parent(here))
        here.sync()
        here.fake.advance(60)
        here.sync()

    def hidden(here: Stage) -> None:
        gone = str(first_parent(here))

        def answer(request: httpx.Request) -> httpx.Response | None:
            page = Answer(here.subject, here.fake, request)
            if gone in request.url.path:
                return httpx.Response(404)
            if page.kind == "parents":
                left = [row for row in page.rows if str(row[here.subject.parent_id]) != gone]
                missing = len(page.rows) - len(left)
                page.rows = left
                return page.total(lambda n: n - missing).sent()
            return page.response

        here.intercept(answer)
        here.sync()
        here.whole()
        add(here, timedelta(minutes=5), timedelta(days=3))
        here.sync()

    return hidden if back else play


def _new_parent(*, fails: bool) -> Play:
    """A parent that is new, with records of long ago; its first answers fail."""

    def play(here: Stage) -> None:
        assert here.subject.add_parent
        parent = here.subject.add_parent(here.fake)[here.subject.parent_id]
        for age in (timedelta(minutes=1), 3 * DAY, 90 * DAY)[
            : 2 if getattr(here.subject.source.stream, "keeps", None) else 3
        ]:
            here.subject.add(here.fake, parent, at=here.fake.now - age)
        if fails:
            here.fake.failing[here.subject.part_of_path(parent)] = 500
            here.sync()
            here.fake.advance(30)
            here.sync()
            here.whole()
        here.sync()

    return play


def _empty_parent(here: Stage) -> None:
    """The listing of parents says that one has no records; then it says how many."""
    here.fake.advance(60)
    here.intercept(_zero(here))
    here.gapless("sync", here.name)
    here.whole()
    here.sync()


def _zero(here: Stage) -> Callable[[httpx.Request], httpx.Response | None]:
    count = here.subject.source.stream.parents.count if here.subject.source.stream.parents else None

    def answer(request: httpx.Request) -> httpx.Response | None:
        page = Answer(here.subject, here.fake, request)
        if not parents(page) or not count:
            return page.response
        page.rows = [row | {count: 0} for row in page.rows]
        return page.sent()

    return answer


def _outlasted(here: Stage) -> None:
    """The vendor keeps records for two days and nobody asked for three: what was not read is lost, and told."""
    here.fake.retention = timedelta(days=2)
    here.fake.advance(60)
    unread = len(here.subject.records(here.fake))
    here.fake.advance(3 * 24 * 60, newcomers=False)
    code, _ = here.gapless("sync", here.name)
    if unread and (code == 0 or not here.gaps()):
        here.told.false.append(f"sync {code}, gaps {len(here.gaps())}, though the vendor deleted unread records")


def lives() -> Iterator[History]:
    minutes = timedelta(minutes=1)
    yield "records come late, within the look-back", _late(50 * minutes, 30 * minutes, 1 * minutes), False, None
    yield "records come late, in a page of others", _late(*(n * minutes for n in range(5, 50, 5))), True, None
    yield "a record that is counted and not shown", _hidden(told=True), False, counts
    yield "a record that is counted and not shown, later", _hidden(told=True), True, counts
    yield "a record that is neither counted nor shown", _hidden(told=False), True, None
    yield "a record changes within the look-back", _changed, True, lambda s: s.whole or s.one_by_one
    # Ids are not listed again while a count is unchanged, for a day.
    yield "one deleted and one late", _deleted_and_late, True, lambda s: not s.one_by_one
    for delete in (False, True):
        for first in (True, False):
            what = "one comes and one goes" if delete else "one comes"
            name = f"while pages are read {what}, {'first' if first else 'later'}"
            yield name, _between_pages(delete=delete, first=first), not first, lambda s: not s.whole
    yield "a parent is deleted", _parent_goes(back=False), True, deletes
    yield "a parent goes and comes back", _parent_goes(back=True), True, has_parents
    yield "a new parent with old records", _new_parent(fails=False), True, has_parents
    yield "a new parent that fails at first", _new_parent(fails=True), True, has_parents
    yield "parents are said to be empty", _empty_parent, False, has_parents
    yield "parents are said to be empty, later", _empty_parent, True, has_parents
    yield (
        "longer away than the vendor keeps records",
        _outlasted,
        True,
        lambda s: getattr(s.source.stream, "keeps", None),
    )
