"""The one verdict on completeness: what a destination's own evidence leaves open of a source.

`gaps` lists it, `status`, the page and Dagster's checks count it, a sync ends with 3 for what is left of it, and
`verify` writes what it finds into the same ledger. No evidence proves nothing: whatever is not known to be complete
is a gap. What came after the last check cannot be known here (see freshness).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.gap import Commands, Gap
from gapless.pipelines.evidence.kinds.ledger import Ledger
from gapless.pipelines.evidence.kinds.outside import gone, not_written, replaced
from gapless.pipelines.evidence.kinds.parents import fewer, intervals, parents
from gapless.pipelines.evidence.kinds.tables import TableGaps
from gapless.pipelines.evidence.kinds.unasked import never_asked, rounds, shards, stale
from gapless.pipelines.evidence.kinds.unfinished import backfills, emptied, letters, policy
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.rows.counts import RowCounts
from gapless.pipelines.evidence.seen import once_synced
from gapless.pipelines.evidence.structure import obstacles, table_names
from gapless.sources import SOURCES, Source, left_accounts
from gapless.sources._dlt.tables import LOADS

LEDGER = ("coverage", "dead_letters", "runs", LOADS)
"""If one of these tables is missing, or lacks a column, nothing else can be known of a source."""


@dataclass(frozen=True)
class Completeness:
    """The verdict on one source."""

    source: str
    gaps: list[Gap] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Returns whether everything that was asked for is proven complete."""
        return not self.gaps


def verdicts(
    reader: Reader,
    target: Target,
    names: Collection[str] = (),
    now: datetime | None = None,
    max_age: timedelta | None = None,
) -> Iterator[Completeness]:
    """Yields the verdict on each of `names`, or on every source that is, or once was, in `target`.

    A source whose last check is older than `max_age` has a gap, too. `reader` reads the target, or a copy of it.
    """
    before = once_synced(reader, target)
    for source in [SOURCES[name] for name in names or SOURCES]:
        commands = Commands.at(source, target)
        # Of a source without tables there is nothing to look at, and most have none.
        made = reader.columns(source.name, table_names(source))
        blocked = obstacles(reader, source, target.backend) if made else []
        found = [*replaced(reader, blocked, commands)]
        if any(one.is_unreadable for one in blocked):
            yield Completeness(source.name, found)
            continue
        here = exists(reader, source)
        found += not_written(target, reader, commands, now)
        if here:
            # No sync reads an account that left, however old its last check is.
            age = None if source.name in left_accounts() else max_age
            found += assess(reader, source, commands, now, age).gaps
        # Nobody may ever have wanted the other sources.
        elif names or source.name in before:
            found.append(gone(commands, before=source.name in before))
        if here or found:
            yield Completeness(source.name, found)


def assess(
    reader: Reader,
    source: Source,
    commands: Commands,
    now: datetime | None = None,
    max_age: timedelta | None = None,
) -> Completeness:
    """Returns what the dataset of a source says of it; `max_age` is how old its last check may be."""
    now, reader = now or datetime.now(UTC), Known(reader, source)
    tables = TableGaps(reader, source, commands)
    found = list(tables.damaged())
    if any(damage.table in LEDGER for damage in tables.damages):
        return Completeness(source.name, found)  # to ask a ledger that is damaged would only fail
    found += _in_ledger(Ledger(reader, source, commands, now), max_age)
    for kind in (tables.lost, tables.doubled):
        found += kind()
    return Completeness(source.name, found)


def left_open(
    reader: Reader,
    commands: Commands,
    shard_has: Callable[[str], bool],
    rows: RowCounts | None = None,
    doubtful: Collection[str] | None = None,
) -> Iterator[Gap]:
    """Yields what a sync of everything new leaves open, of the parents of its shard.

    `rows` are the counts of all rows, where they are known; else they are counted. `doubtful` are the only parents
    that may lack rows; None: any may.
    """
    source = commands.source
    ledger = Ledger(Known(reader, source), source, commands, datetime.now(UTC), rows)
    own = (intervals(ledger), parents(ledger), fewer(ledger, doubtful), letters(ledger), emptied(ledger))
    for gap in chain(*own, policy(ledger)):
        if not gap.parent or shard_has(gap.parent):
            yield gap


def lacks_rows(gap: Gap) -> bool:
    """Returns whether a gap says that rows are lost here, and not that the vendor has deleted what nobody read."""
    return gap.kind == "lost" and gap.since is None and gap.until is None


def open_in_ledger(reader: Reader, source: Source, commands: Commands) -> Iterator[Gap]:
    """Yields what the ledger alone leaves open, without a look at the tables; nothing of a ledger that is damaged."""
    if not any(damage.table in LEDGER for damage in TableGaps(reader, source, commands).damages):
        yield from _in_ledger(Ledger(Known(reader, source), source, commands, datetime.now(UTC)), None)


def _in_ledger(ledger: Ledger, max_age: timedelta | None) -> Iterator[Gap]:
    """Yields every kind of gap of a ledger, in the order in which they are shown."""
    for kind in (rounds, intervals, never_asked, parents, fewer, letters, emptied):
        yield from kind(ledger)
    yield from stale(ledger, max_age)
    for kind in (shards, backfills, policy):
        yield from kind(ledger)


def exists(reader: Reader, source: Source) -> bool:
    """Returns whether a source was ever synced, or tried to: whether anything of its dataset is there."""
    if any(reader.rows(source.name, "select count(*) from {0}", table) for table in ("coverage", "runs")):
        return True
    # Somebody may have dropped both, and left other tables.
    return bool(reader.columns(source.name, table_names(source)))
