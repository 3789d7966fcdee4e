"""A sync of a part proves that part: what failed before it, and what is new, is still told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ledger.status import statuses
from tests.contract.commands import document, gapless, gaps, run
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.world import World, some

Part = Callable[[Subject, World], int]


def _window(subject: Subject, here: World) -> tuple[str, str]:
    now = here.fake.now
    return (now - timedelta(days=3)).isoformat(), (now - timedelta(days=1)).isoformat()


def by_window(subject: Subject, here: World) -> int:
    since, until = _window(subject, here)
    return gapless(here, "sync", subject.name, "--since", since, "--until", until).exit_code


def by_backfill(subject: Subject, here: World) -> int:
    since, until = _window(subject, here)
    return gapless(here, "backfill", subject.name, "--since", since, "--until", until).exit_code


def by_scheduler(subject: Subject, here: World) -> int:
    since, until = _window(subject, here)
    here.set(DLT_INTERVAL_START=since, DLT_INTERVAL_END=until)
    done = gapless(here, "sync", subject.name).exit_code
    for bound in ("START", "END"):
        here.monkeypatch.delenv(f"DLT_INTERVAL_{bound}")
    return done


def by_end(subject: Subject, here: World) -> int:
    here.set(**{f"{subject.prefix}_END_VALUE": _window(subject, here)[1]})
    done = gapless(here, "sync", subject.name).exit_code
    here.monkeypatch.delenv(f"{subject.prefix}_END_VALUE")
    return done


def by_id(subject: Subject, here: World) -> int:
    by = subject.source.stream.by_id
    if by is None:
        pytest.skip("the source reads nothing by id")
    rows = subject.records(here.fake)
    keys = {subject.of_parent(row) if by == "parent" else str(row[subject.id]) for row in rows}
    return gapless(here, "sync", subject.name, *(word for key in sorted(keys) for word in ("--id", key))).exit_code


SCOPES = {
    by_window: "window ", by_backfill: "backfill ", by_scheduler: "window ", by_end: "window ", by_id: ""
}  # fmt: skip


@pytest.mark.slow
@of(NAMES[0], NAMES[-1])
@pytest.mark.parametrize("part", some(SCOPES, by_window, by_id))
def test_rounds_that_failed_are_told_until_one_asks_for_all(part: Part, subject: Subject, synced: World) -> None:
    synced.fail_after(0, status=401)
    for _ in range(2):
        assert synced.sync().outcome == "failed"
    synced.mend()
    subject.add_one(synced.fake)
    assert part(subject, synced) == 0
    (scope,) = synced.sql('select scope from runs order by "finished_at" desc limit 1')[0]
    assert scope.startswith(SCOPES[part])
    assert (part is by_id) == scope.endswith(("id", "ids"))
    (told,) = gaps(synced)
    assert (told["kind"], told["times"], told["fill"]) == ("not asked", 2, f"gapless sync {subject.name}")
    (status,) = (one for one in statuses(Target.find("duckdb")) if one.source == subject.name)
    assert (status.complete, status.last_run and status.last_run["outcome"]) == (False, "failed")
    here = synced.sql(f"select last_run_outcome from activity.freshness where account = '{subject.name}'")
    assert {*here} == {("failed",)}
    synced.complete()
    assert gaps(synced) == []
    assert synced.sql('select scope from runs order by "finished_at" desc limit 1') == [(None,)]
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[-1])
def test_a_part_that_failed_says_nothing_of_all(subject: Subject, synced: World) -> None:
    """What is new was asked for before it; only a first read of a part leaves all unread."""
    synced.fail_after(0, status=401)
    assert by_window(subject, synced) == 1
    synced.mend()
    assert gaps(synced) == []
    (status,) = (one for one in statuses(Target.find("duckdb")) if one.source == subject.name)
    assert status.last_run
    assert status.last_run["outcome"] == "complete"


@pytest.mark.slow
@of(NAMES[0])
def test_one_shard_does_not_end_what_failed_as_a_whole(subject: Subject, sharded: World, writers: str) -> None:
    """A round was asked when all of its shards came to their ends."""
    here, there = sharded, ("--destination", writers)

    def sync(*part: str) -> int:
        return run("sync", subject.name, *part, *there).exit_code

    def told() -> list[tuple[str, str]]:
        found = json.loads(run("gaps", "--json", *there).stdout)["gaps"]
        return [(gap["kind"], gap["fill"].partition(" --shard ")[2][:3]) for gap in found]

    assert [sync("--shard", part) for part in ("1/2", "2/2")] == [0, 0]
    here.fail_after(0, status=401)
    assert [sync(), sync(), told()] == [1, 1, [("not asked", "")]]
    here.mend()
    assert [sync("--shard", "1/2"), told()] == [0, [("not asked", "2/2")]]
    (status,) = (one for one in statuses(Target.find(writers)) if one.source == subject.name)
    assert status.last_run
    assert status.last_run["outcome"] == "failed"
    assert [sync("--shard", "2/2"), told()] == [0, []]


@pytest.mark.slow
@of(NAMES[0])
def test_an_account_without_anything_grows_old(subject: Subject, world: Begin) -> None:
    """No parent has a proof, so the last sync that listed them says how old that is."""
    here = world(subject.empty())
    here.complete()
    assert gaps(here) == []
    old = ", ".join(f'"{name}" = "{name}" - interval \'3 days\'' for name in ("started_at", "finished_at"))
    here.database.change(subject.name, f"update runs set {old}", "update coverage set last_checked_at = null")
    found: list[dict[str, Any]] = document(here, "gaps", "--max-age", "2d")["gaps"]
    assert {gap["kind"] for gap in found} <= {"stale", "set back"}
    assert found
    by_window(subject, here)
    assert document(here, "gaps", "--max-age", "2d")["gaps"]
