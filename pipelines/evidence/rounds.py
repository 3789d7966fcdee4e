"""Reads the rounds of a source: its syncs of all that is new, or of one shard of that. What a round leaves is no gap.

A sync of a window, or of single ids, is no round: it proves what it read, and nothing of what is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import takewhile
from typing import NamedTuple

from gapless.pipelines.destinations.reader import Reader, Rows
from gapless.pipelines.evidence.proofs import as_utc
from gapless.sources._ledger.ledger import RUNS
from gapless.sources._ledger.shard import WHOLE, Shard

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far the clocks of two machines may be apart."""


class Round(NamedTuple):
    """One sync of all that is new, or of one shard of that; times are in UTC."""

    run_id: str
    outcome: str
    shard: Shard
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None

    @property
    def failed(self) -> bool:
        """Returns whether something ended it early."""
        return self.outcome == "failed"


def of_all(reader: Reader, dataset: str) -> str:
    """Returns the SQL condition on a run that it was one of all that is new, as far as the table can say it."""
    if reader.appends:  # what files have as columns, the engine says
        named = reader.rows(dataset, "select column_name from (describe select * from {0})", RUNS.name) or []
        columns = {str(name) for (name,) in named}
    else:
        columns = reader.columns(dataset, [RUNS.name]).get(RUNS.name, set())
    # An older version did not write it, and then each counts, as it did there.
    return "scope is null" if "scope" in columns else "1 = 1"


def read_rounds(reader: Reader, dataset: str, now: datetime) -> list[Round]:
    """Returns the rounds of a source, newest first.

    One that ends in the future was written while a clock was wrong, and would hide all that came since.
    """
    columns = 'run_id, outcome, shard, "started_at", "finished_at", error'
    select = f'select {columns} from {{0}} where {of_all(reader, dataset)} order by "finished_at" desc'
    rounds = [*_rounds(reader.rows(dataset, select, RUNS.name) or [])]
    return [one for one in rounds if one.finished_at is None or one.finished_at <= now + CLOCKS_DIFFER] or rounds


def _rounds(rows: Rows) -> Iterator[Round]:
    for run_id, outcome, shard, started, finished, error in rows:
        with suppress(ValueError):  # of a row that no sync wrote
            part = Shard.parse(shard) if shard else WHOLE
            yield Round(str(run_id), str(outcome), part, as_utc(started), as_utc(finished), error)


def parts(rounds: Sequence[Round]) -> list[Shard]:
    """Returns what must come to its end for all to be asked: the shards of the newest split, or the whole source.

    An older split with other numbers was replaced by the newest one.
    """
    of = rounds[0].shard.of if rounds else 1
    return [Shard(number, of) for number in range(1, of + 1)]


def of_this_split(rounds: Sequence[Round]) -> list[Round]:
    """Returns the rounds since the source was last split otherwise: what an older split left may not be asked now."""
    of = rounds[0].shard.of if rounds else 1
    return [*takewhile(lambda one: one.shard.whole or of in (1, one.shard.of), rounds)]


def of_part(rounds: Sequence[Round], part: Shard) -> list[Round]:
    """Returns the rounds that asked for all of a part: its own, and those of the whole source."""
    return [one for one in rounds if one.shard in (WHOLE, part)]


def failed_since(rounds: Sequence[Round]) -> Iterator[tuple[Shard, list[Round]]]:
    """Yields each part that has failed since it last came to its end, with these rounds.

    One shard that comes to its end says nothing of another.
    """
    for part in parts(rounds):
        own = rounds if part.whole else of_part(of_this_split(rounds), part)
        if failed := [*takewhile(lambda one: one.failed, own)]:
            yield part, failed


def never_ran(rounds: Sequence[Round]) -> list[Shard]:
    """Returns the shards of the newest split that nothing has tried since the whole source last came to its end."""
    if not rounds or rounds[0].shard.whole:
        return []
    since = [*takewhile(lambda one: one.failed or not one.shard.whole, rounds)]
    return [part for part in parts(rounds) if not of_part(of_this_split(since), part)]


def last_round(rounds: Sequence[Round]) -> Round | None:
    """Returns the newest round; of shards the one that came off worst, because all of them make up one."""
    newest = [own[0] for part in parts(rounds) if (own := of_part(rounds, part))]
    return min(newest, key=lambda one: WORST.index(one.outcome) if one.outcome in WORST else 0, default=None)


WORST = ("failed", "partial", "complete")


def was_followed(rounds: Sequence[Round], part: Shard, at: datetime) -> bool:
    """Returns whether rounds of all of a part have ended since a time: then the table says how it stands."""
    since = [one for one in rounds if one.finished_at and one.finished_at > at]
    wanted = parts(since) if part.whole or part not in parts(since) else [part]
    return bool(since) and all(of_part(since, one) for one in wanted)
