"""Which rounds of a source failed, and which shards never ran, by the rows of `runs`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gapless.pipelines.evidence.rounds import Round, failed_since, never_ran
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


def test_a_shard_that_never_ran() -> None:
    """Since the whole source last came to its end."""
    assert [str(one) for one in never_ran(rounds("1/1 complete", "1/2 complete", "1/2 complete"))] == ["2/2"]
    assert never_ran(rounds("1/2 complete", "1/1 complete")) == []
