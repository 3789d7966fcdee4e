"""Stories of operators: jobs that read a part, rows that are lost, repairs that break off, kills, copies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.lab.scenarios.histories.common import (
    DAY,
    History,
    Play,
    add,
    counts,
    window,
)
from tests.lab.scenarios.stage import Stage
from tests.support.databases import DuckDB


class _Other(DuckDB):
    """Where copies go."""

    name = "other"
    files = "other.duckdb"

    @property
    def option(self) -> list[str]:
        return ["--destination", "other"]


def _first_job(*words: str, since: timedelta | None, until: timedelta | None) -> Play:
    """A job that reads a part is the first one."""

    def play(here: Stage) -> None:
        now = here.fake.now
        start, end = now - since if since else None, now - until if until else None
        span = [*(["--since", start.isoformat()] if start else []), *(["--until", end.isoformat()] if end else [])]

        def scope(row: dict[str, Any]) -> bool:
            at = here.age(row)
            return (start is None or at >= start) and (end is None or at < end)

        here.run(*words, here.name, *span, scope=scope)
        here.fail_after(0)
        here.sync()

    return play


def _interval(here: Stage) -> None:
    """A scheduler's interval, as of Airflow."""
    since, until = here.fake.now - 3 * DAY, here.fake.now - DAY
    here.set(DLT_INTERVAL_START=since.isoformat(), DLT_INTERVAL_END=until.isoformat())
    here.sync(scope=lambda row: since <= here.age(row) < until)
    for name in ("DLT_INTERVAL_START", "DLT_INTERVAL_END"):
        here.patch.delenv(name)


def _damaged(*statements: str, lost: int = 7, silently: bool = True, syncs: int = 2) -> Play:
    """Rows are lost, silently, something of the ledger as well, and then scheduled syncs come."""

    def play(here: Stage) -> None:
        here.lose(here.some(lost), silently=silently)
        typed = [*statements]
        marks = {"FUTURE": here.fake.now + 30 * DAY, "PAST": here.fake.now - 30 * DAY}
        for name, at in marks.items():  # as every engine reads it
            typed = [one.replace(name, f"'{at:%Y-%m-%d %H:%M:%S.%f}'") for one in typed]
        here.change(*typed)
        for _ in range(syncs):
            here.fake.advance(60)
            here.sync()

    return play


def _state(*words: str, after: int | None) -> Play:
    """Rows are lost, the state is set back, and the next sync breaks off after so many requests."""

    def play(here: Stage) -> None:
        here.lose(here.some(9))
        to = [(here.fake.now + 30 * DAY).isoformat() if one == "FUTURE" else one for one in words]
        to = [(here.fake.now - 2 * DAY).isoformat() if one == "PAST" else one for one in to]
        here.gapless("state", to[0], here.name, *to[1:], "--yes")
        if after is not None:
            here.fail_after(after)
            here.sync()
            here.whole()
            here.fake.advance(60)
        here.sync()

    return play


def _repair(after: int, status: int) -> Play:
    def play(here: Stage) -> None:
        here.lose(here.some(9))
        here.fail_after(after, status)
        here.run("verify", here.name, "--repair")
        here.whole()
        here.fake.advance(60)
        here.sync()

    return play


def _killed(at: int, *then: str, command: str = "sync") -> Play:
    """kill -9 at a request, then another command."""

    def play(here: Stage) -> None:
        here.fake.advance(60)
        here.lose(here.some(5))
        words = ("verify", here.name, "--repair") if command == "repair" else ("sync", here.name)
        here.killed(at, *words)
        here.claims(here.wrong())
        if then and then[0] == "backfill":
            window(here, "backfill")
        elif then:
            here.gapless(*(here.name if one == "NAME" else one for one in then))
        here.sync()

    return play


def _policy(here: Stage) -> None:
    """A privacy policy is set after the first sync, and taken back."""
    column = here.subject.text_column
    here.set(**{f"{here.subject.prefix}_PRIVACY": f"{here.subject.main}.{column}=drop"})
    here.fake.advance(60)
    if here.gapless("sync", here.name)[0] == 0:
        here.told.false.append("sync 0 after the privacy policy was changed")
    here.patch.delenv(f"{here.subject.prefix}_PRIVACY")


def _stopped_backfill(after: int) -> Play:
    """A backfill breaks off, new records and a parent come, and it goes on."""

    def play(here: Stage) -> None:
        here.lose()
        here.packages(4)
        here.fail_after(after)
        since, until = here.fake.now - 4 * DAY, here.fake.now - DAY
        span = ("--since", since.isoformat(), "--until", until.isoformat())
        here.run("backfill", here.name, *span, scope=lambda row: since <= here.age(row) < until)
        here.whole()
        add(here, 2 * DAY, timedelta(minutes=4))
        if here.subject.add_parent:
            for _ in range(3):
                parent = here.subject.add_parent(here.fake)[here.subject.parent_id]
                here.subject.add(here.fake, parent, at=here.fake.now - 2 * DAY)
        here.run("backfill", here.name, *span, scope=lambda row: since <= here.age(row) < until)
        here.sync()

    return play


def _copied(where: str) -> Play:
    """A copy is made, rows of it are lost, and then it is asked."""

    def play(here: Stage) -> None:
        here.fake.advance(60)
        here.sync()
        here.set(DESTINATION__OTHER__DESTINATION_TYPE="duckdb")
        here.set(DESTINATION__OTHER__CREDENTIALS=str(here.folder / "other.duckdb"))
        (here.folder / "other.duckdb").unlink(missing_ok=True)
        code, text = here.gapless("copy", "--to", "other")
        assert code == 0, text
        own, here.database = here.database, _Other(here.folder)
        try:
            if where == "lost":
                here.lose(here.some(6))
            elif where == "lost silently, proofs too":
                here.lose(silently=True)
                here.change("delete from coverage")
            here.claims(here.wrong()) if here.wrong() else None
            here.close()
        finally:
            here.database = own

    return play


def operators() -> Iterator[History]:
    day = timedelta(days=1)
    yield "--since first, then nobody answers", _first_job("sync", since=2 * day, until=None), False, None
    yield "--until first, then nobody answers", _first_job("sync", since=None, until=2 * day), False, None
    yield "a backfill first, then nobody answers", _first_job("backfill", since=4 * day, until=day), False, None
    yield "a scheduler's interval first", _interval, False, None
    yield "a scheduler's interval later", _interval, True, None
    future, past = (
        "covered_to = FUTURE where covered_to is not null",
        "covered_to = PAST where covered_to is not null",
    )
    yield "rows lost silently", _damaged(), True, counts
    yield "rows lost", _damaged(silently=False), True, None
    yield "rows and proofs lost", _damaged("delete from coverage"), True, None
    yield "all rows lost, runs emptied", _damaged("delete from runs", lost=99), True, None
    yield "rows lost, a watermark in the future", _damaged(f"update coverage set {future}"), True, counts
    yield "rows lost, a watermark long ago", _damaged(f"update coverage set {past}"), True, counts
    yield "rows lost, no watermark", _damaged("update coverage set covered_to = null"), True, counts
    for after in (None, 0, 2, 4):
        how = "" if after is None else f", then 401 after {after} requests"
        yield f"rows lost, state reset{how}", _state("reset", after=after), True, None
    yield "rows lost, state rewind", _state("rewind", "--to", "PAST", after=None), True, None
    yield "rows lost, state rewind to the future", _state("rewind", "--to", "FUTURE", after=None), True, None
    for after in (0, 1, 3, 6):
        for status in (401, 500):
            yield f"rows lost, a repair meets {status} after {after} requests", _repair(after, status), True, None
    for at in (1, 4):
        yield f"a sync is killed at request {at}", _killed(at), True, None
        yield (
            f"a sync is killed at request {at}, then a reset",
            _killed(at, "state", "reset", "NAME", "--yes"),
            True,
            None,
        )
        yield (
            f"a sync is killed at request {at}, then a repair",
            _killed(at, "verify", "NAME", "--repair"),
            True,
            None,
        )
        yield f"a sync is killed at request {at}, then a backfill", _killed(at, "backfill"), True, None
        yield f"a repair is killed at request {at}", _killed(at, command="repair"), True, None
    yield "a privacy policy is set and taken back", _policy, True, None
    for after in (2, 4):
        yield f"a backfill breaks off after {after} requests", _stopped_backfill(after), True, None
    for where in ("all there", "lost", "lost silently, proofs too"):
        yield f"a copy, {where}", _copied(where), True, None
