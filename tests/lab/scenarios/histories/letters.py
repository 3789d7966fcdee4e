"""Stories of bad records, their letters, and of ids that are named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.lab.scenarios.histories.common import (
    DAY,
    History,
    Play,
    add,
    by_id,
    by_record,
    window,
)
from tests.lab.scenarios.stage import Stage


def _bad(here: Stage, *ages: timedelta) -> list[Any]:
    keys = add(here, *ages, **here.subject.with_text([]))
    here.sync()
    return keys


AGES = (timedelta(minutes=3), timedelta(hours=30), 3 * DAY)


def _letters(*, mended: bool, job: str) -> Play:
    def play(here: Stage) -> None:
        keys = _bad(here, *AGES)
        if mended:
            for key in keys:
                here.subject.edit(here.fake, key, "mended")
        if job == "repair":
            here.run("verify", here.name, "--repair")
        elif job == "recent":
            here.sync("--since", (here.fake.now - timedelta(minutes=9)).isoformat(), scope=None)
        elif job == "sync":
            here.fake.advance(60)
            here.sync()
        else:
            window(here, job)
        here.claims(here.wrong()) if here.wrong() else None
        for key in keys:
            here.subject.edit(here.fake, key, "mended")

    return play


def _bad_goes(here: Stage) -> None:
    """A bad record that the vendor deletes: its letter ends, and nothing is told of it for ever."""
    keys = _bad(here, timedelta(minutes=3))
    for key in keys:
        here.fake.delete(key)
    here.sync(scope=None)


def _bad_record_not_found(here: Stage) -> None:
    keys = _bad(here, *AGES)
    for key in keys:
        here.fake.failing[str(key)] = 404
    here.sync()
    here.whole()
    for key in keys:
        here.subject.edit(here.fake, key, "mended")


def _one_record(here: Stage) -> None:
    """`--id` on an empty database, then nothing else: nobody may call this complete."""
    row = here.subject.records(here.fake)[0]
    parent = here.subject.source.stream.by_id == "parent"
    key = here.subject.of_parent(row) if parent else str(row[here.subject.id])
    own = [one for one in here.subject.records(here.fake) if not parent or here.subject.of_parent(one) == key]
    ids = {one[here.subject.id] for one in own} if parent else {row[here.subject.id]}
    here.sync("--id", key, scope=lambda one: one[here.subject.id] in ids)


def _again_by_id(here: Stage) -> None:
    """Rows are lost, and `--id` names them."""
    here.lose()
    _one_record(here)


def _mistyped(here: Stage) -> None:
    code, _ = here.gapless("sync", here.name, "--id", "nobody")
    if code == 0:
        here.told.false.append("sync --id nobody ends 0")
    here.sync()


def letters() -> Iterator[History]:
    for mended in (True, False):
        for job in ("sync", "backfill", "recent", "repair"):
            how = "mended ones" if mended else "bad ones"
            yield f"letters of {how}, then {job}", _letters(mended=mended, job=job), True, None
    yield "a bad record that goes", _bad_goes, True, None
    yield "bad records that are not found for a while", _bad_record_not_found, True, by_record
    yield "--id first", _one_record, False, by_id
    yield "--id of lost rows", _again_by_id, True, by_id
    yield "--id mistyped", _mistyped, True, by_id
