"""What the longer stories share: on which sources they can be told, and records that come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.contract.subject import Subject
from tests.lab.scenarios.stage import Stage

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Play = Callable[[Stage], None]
History = tuple[str, Play, bool, Callable[[Subject], object] | None]
"""Name, what happens, whether it begins after a first sync, and on which sources."""


def has_parents(subject: Subject) -> object:
    return subject.parents_table


def deletes(subject: Subject) -> object:
    noun = str(subject.source.split_by or "").removesuffix("s")
    return subject.parents_table and hasattr(subject.source.fake, f"delete_{noun}")


def by_record(subject: Subject) -> object:
    return subject.source.stream.by_id == "record"


def by_id(subject: Subject) -> object:
    return subject.source.stream.by_id


def details(subject: Subject) -> object:
    return subject.one_by_one


def counts(subject: Subject) -> object:
    return subject.tells_total and not subject.whole


def first_parent(here: Stage) -> Any:
    """A parent that has records."""
    stream = here.subject.source.stream
    if not stream.parents:
        return None
    own = [here.subject.of_parent(row) for row in here.subject.records(here.fake)]
    return next(one for one in here.subject.parents(here.fake) if str(one) in own)


def add(here: Stage, *ages: timedelta, **fields: Any) -> list[Any]:
    """Adds a record of each age to one parent."""
    parent = first_parent(here)
    return [here.subject.add(here.fake, parent, at=here.fake.now - age, **fields)[here.subject.id] for age in ages]


def window(here: Stage, *words: str) -> None:
    """A window that holds some of the bad records."""
    since, until = here.fake.now - 4 * DAY, here.fake.now - 2 * DAY
    span = ("--since", since.isoformat(), "--until", until.isoformat())
    here.run(*words, here.name, *span, scope=lambda row: since <= here.age(row) < until)
