"""Which rounds of a source failed, and which shards never ran, by the rows of `runs`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from gapless.pipelines.evidence.rounds import (
    CLOCKS_DIFFER,
    Round,
    failed_since,
    last_round,
    never_ran,
    read_rounds,
)
from gapless.sources._ledger.shard import Shard

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


def rounds(*each: str) -> list[Round]:
    """Returns rounds, newest first, of "1/2 failed" and its like, which ran in this order."""
    made = []
    for number, (shard, outcome) in enumerate(one.split() for one in each):
        at = BEGAN + timedelta(hours=number)
        made.append(Round(str(number), outcome, Shard.parse(shard), at, at, None))
    return made[::-1]


def test_shards_of_an_older_split_do_not_count() -> None:
    """What failed as 2/2 is asked by 1/3, 2/3 and 3/3 together, and not by those that ran before it."""
    before = ["1/3 complete", "2/3 complete", "3/3 complete", "1/2 complete", "2/2 failed", "2/2 failed"]
    assert [str(part) for part, _ in failed_since(rounds(*before))] == ["2/2"]
    again = [*before, "1/3 complete"]
    assert (list(failed_since(rounds(*again))), [str(one) for one in never_ran(rounds(*again))]) == (
        [],
        ["2/3", "3/3"],
    )
    again += ["2/3 complete", "3/3 failed"]
    assert [str(part) for part, _ in failed_since(rounds(*again))] == ["3/3"]
    again += ["3/3 complete"]
    assert (list(failed_since(rounds(*again))), never_ran(rounds(*again))) == ([], [])
    # What failed before the other split is not asked for as such any more, but has not run since.
    anew = rounds("1/3 failed", "2/3 complete", "3/3 complete", "1/2 complete", "2/2 complete", "2/3 complete")
    assert (list(failed_since(anew)), [str(one) for one in never_ran(anew)]) == ([], ["1/3", "3/3"])


def test_a_shard_that_never_ran() -> None:
    """Since the whole source last came to its end."""
    assert [str(one) for one in never_ran(rounds("1/1 complete", "1/2 complete", "1/2 complete"))] == ["2/2"]
    assert never_ran(rounds("1/2 complete", "1/1 complete")) == []


def test_the_worst_of_the_newest_shards_speaks_for_all() -> None:
    """The last one that ended is not the last word on the others."""
    last = last_round(rounds("1/2 failed", "2/2 complete"))
    assert last
    assert (last.outcome, str(last.shard)) == ("failed", "1/2")
    assert last_round([]) is None


def read(*rows: tuple[Any, ...], columns: str = "scope", now: datetime = BEGAN) -> tuple[list[str], str]:
    """Returns the ids of the rounds, and what was asked."""
    asked: list[str] = []
    reader = SimpleNamespace(
        appends=False,
        columns=lambda *_: {"runs": {*columns.split()}},
        rows=lambda dataset, select, *_: asked.append(select) or [*rows],
    )
    return [one.run_id for one in read_rounds(cast(Any, reader), "one", now)], asked[-1]


def row(run_id: str, ended: datetime = BEGAN, shard: str | None = None) -> tuple[Any, ...]:
    return run_id, "complete", shard, ended, ended, None


def test_a_round_that_ends_in_the_future_hides_no_other() -> None:
    """A clock was wrong: what came since counts. Where there is nothing else it is the best that is known."""
    future = row("future", BEGAN + 2 * CLOCKS_DIFFER)
    assert read(future, row("now"))[0] == ["now"]
    assert read(row("a moment", BEGAN + CLOCKS_DIFFER / 2), row("now"))[0] == ["a moment", "now"]
    assert read(future)[0] == ["future"]


def test_a_row_that_no_sync_wrote_is_no_round() -> None:
    assert read(row("somebody's", shard="first of two"), row("ours"))[0] == ["ours"]


def test_a_sync_of_a_part_is_no_round() -> None:
    """An older version wrote no scope, and then each counts."""
    assert "where scope is null" in read(row("now"))[1]
    assert "scope" not in read(row("now"), columns="")[1]
