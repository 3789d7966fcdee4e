"""Finds rows that somebody deleted or doubled, by the row counts that `runs.held` notes and by what records say.

Where the database has signs of a table that change with its rows, and they did not, nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._postgres.checksums import MODULUS
from gapless.pipelines.destinations.backend import Sign
from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.resolve import backend_of
from gapless.pipelines.evidence.gap import Commands, chosen_ids
from gapless.pipelines.evidence.proofs import PROOF_COLUMNS, lacks_newest, proofs_mark, read_proofs
from gapless.pipelines.evidence.rows.below import Below, fill_below, find_below
from gapless.pipelines.evidence.rows.counts import (
    UNCOUNTED,
    Checksums,
    Held,
    RowCounts,
    count_rows,
    counted_tables,
    of_roots,
    read_held,
)
from gapless.pipelines.sync.mending.tables import delete_orphans, remove_doubled
from gapless.pipelines.sync.noted_counts import counted, keep_newest, note_roots, signs_of
from gapless.sources import Source
from gapless.sources._ledger.ledger import COVERAGE
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    import dlt

    from gapless.sources._dlt.row_changes import WrittenRows

WAITS = 20
"""How often statistics are looked at again, each time after a twentieth of a second."""


@dataclass
class Before:
    """How a sync found the rows of its source."""

    held: Held | None = None
    """The rows when this sync began, with what is known to be lost; None: nothing was counted, or cannot be."""
    now: RowCounts | None = None
    """Rows by table when this sync began; None: not counted."""
    doubled: list[str] = field(default_factory=list)
    """Messages about doubled rows, which were removed."""
    signs: dict[str, Sign] = field(default_factory=dict)
    """What the database said of the tables just before; none: it says nothing."""
    counted_at: datetime | None = None
    """When the rows were really counted."""
    checksums: Checksums = field(default_factory=dict)
    """Sum of the ids of each table's rows; none: not known."""
    below: Below = field(default_factory=Below)
    """How the rows below records differed from what the records say; clean where nothing was counted."""
    ended: Held | None = None
    """The rows when it ended; None: not known yet."""
    unchanged: bool = False
    """Whether only syncs have changed rows and proofs since all were read, less than a day ago, and none lacked."""
    alone: bool = True
    """Whether nobody else was at work when it ended: of a shard another one may have been."""
    below_at_end: Below = field(default_factory=Below)
    """How the rows below records differed when it ended."""
    seen: dict[str, Sign] = field(default_factory=dict)
    """What the database said of the tables just before a shard counted them; of a whole sync those are `signs`."""

    @property
    def lost(self) -> RowCounts:
        """Returns the lost rows by table."""
        return {**(self.held.lost if self.held else {}), **self.below.lost}

    @property
    def lost_meanwhile(self) -> RowCounts:
        """Returns by table what went while the sync ran."""
        lost = {**(self.ended.lost if self.ended else {}), **self.below_at_end.lost}
        return {table: rows for table, rows in lost.items() if table not in self.lost}


def find_lost_rows(
    pipeline: dlt.Pipeline, source: Source, shard: Shard | None = None, *, must_count: bool = True
) -> Before:
    """Returns how the rows stand: what is lost since the last sync, and what was doubled and is removed here.

    Where nobody counted the rows of proven records, one counts as lost, if somebody `must_count`.

    A sync never removes root rows, so somebody else deleted what is missing. Child rows of a changed record may
    become fewer, also if that sync is killed before it writes its counts: so their counts are removed here first.
    Returns nothing for append-only destinations.
    """
    shard, at, backend = shard or Shard(), datetime.now(UTC), backend_of(pipeline)
    if backend.appends:
        return Before()
    alone = shard.whole
    with PipelineReader(pipeline).connected() as reader:
        held, signs = read_held(reader, source), signs_of(pipeline, reader, source, shard)
        if held and held.still_holds(signs, at):
            with pipeline.sql_client() as client:
                # A sync that is killed leaves neither child rows nor signs as they were.
                note_roots(client, source, held)
            same = _is_unchanged(reader, source, held, at)
            known = Held(held.rows, held.lost)
            return Before(known, held.rows, [], signs, held.counted_at, held.checksums, unchanged=same)
        seen = {} if shard.whole else signs_of(pipeline, reader, source, Shard())
        now, sums = counted(reader, source, signs or (held.checksums if held else {}))
        # Others that are at work, or were meanwhile, make the rows below changed records fewer.
        alone = alone or (read_held(reader, source) == held and backend.is_alone(reader, source.name))
        if held and not alone:
            held.rows, held.checksums = of_roots(source, held.rows), of_roots(source, held.checksums)
        # Where a database has signs, they say that somebody else was here; where it has none, the counts must do.
        same = held is not None and not signs and held.rows == now and shard.whole
        same = same and held is not None and _is_unchanged(reader, source, held, at)
        uncounted = _uncounted(reader, source, now) if held is None and must_count else None
        # The sum reads a column of all that is stored.
        below = Below() if same else find_below(reader, source, held, now)
    if held is None:
        # A table that is made again is empty, and what was below its rows is not.
        with pipeline.sql_client() as client:
            delete_orphans(client, source, counts=now)
        before = Before(uncounted, now, [], signs, at, sums, below, seen=seen)
        _fill_silent(pipeline, source, before, alone=alone)
        return before
    # Only a table that grew can hold doubled rows, and to find them it is read whole.
    more = [table for table, rows in held.rows.items() if rows < now.get(table, 0)] if shard.whole else []
    doubled = remove_doubled(pipeline, source, more)
    if doubled:
        now, sums = counted(PipelineReader(pipeline), source, signs)
        with PipelineReader(pipeline).connected() as reader:
            below = find_below(reader, source, held, now)
    gone, exchanged = held.gone(now), held.exchanged(now, sums, signs)
    counted_at, same = held.counted_at if same else at, same and below.clean
    found = Held(now, below.without_known(held.missed(now, exchanged)))
    before = Before(found, now, doubled, signs, counted_at, sums, below, unchanged=same, seen=seen)
    with pipeline.sql_client() as client:
        # Orphans are only possible where rows were deleted, and searching them costs a scan.
        if gone or exchanged or below.more or not held.rows:
            delete_orphans(client, source, now)
        if backend.updates_rows:
            # A shard that began before it may have brought back already what was lost, and noted that it was.
            left = before.held if before.lost or shard.number == 1 else held
            assert left
            if not shard.whole and shard.number == 1:
                keep_newest(client, client.make_qualified_table_name("runs"))
            note_roots(client, source, left)
    _fill_silent(pipeline, source, before, alone=alone)
    return before


def _fill_silent(pipeline: dlt.Pipeline, source: Source, before: Before, *, alone: bool) -> None:
    """Lets records that say nothing of the rows below them say it, where no loss is known that this would hide."""
    known = before.lost or before.below.more or not alone
    if before.below.silent and not known and backend_of(pipeline).updates_rows:
        with pipeline.sql_client() as client:
            fill_below(client, source, only=before.below.silent)
        before.below.silent.clear()


def _is_unchanged(reader: PipelineReader, source: Source, held: Held, now: datetime) -> bool:
    """Returns whether no row was lacking, less than a day ago, and the proofs are those of then."""
    if not held.proofs or held.lost or not held.is_fresh(now):
        return False
    return held.proofs == proofs_mark(reader, source.name, source.main.name)


def note_all_here(pipeline: dlt.Pipeline, reader: PipelineReader, source: Source, ended: Held) -> None:
    """Notes that at the end of a sync of everything every parent has the rows that its proof tells of.

    Then the next sync need not read them, unless somebody else changes something.
    """
    # Elsewhere times are texts, or rows are not counted.
    takes_times = pipeline.destination.capabilities().supports_tz_aware_datetime
    if backend_of(pipeline).updates_rows and takes_times and not ended.lost:
        ended.proofs = proofs_mark(reader, source.name, source.main.name)


def count_at_end(
    pipeline: dlt.Pipeline, reader: PipelineReader, source: Source, shard: Shard, before: Before
) -> Held:
    """Returns the rows when a sync ends: by what it has written itself, if the database says that nobody else did.

    Else they are counted, and what a whole sync lacks then was deleted while it ran: that is noted as lost.
    """
    if before.ended:
        return before.ended
    if backend_of(pipeline).appends:
        return Held()
    written: WrittenRows | None = getattr(pipeline.destination, "written", None)
    if not shard.whole:
        return _count_beside_shards(pipeline, reader, source, before, written)
    if written is None:
        now = count_rows(reader, source)
        if not (before.unchanged and now == before.now):
            before.below_at_end = find_below(reader, source, None, now)
        return Held(now, counted_at=before.counted_at)
    signs, wanted = _signs_at_end(pipeline, reader, source, before.signs, written), before.signs
    wanted = {table: sign.after(*written.of(table)) for table, sign in wanted.items()}
    ended = Held()
    if before.now and before.signs and before.below.settled and not written.doubtful:
        changes = {table: written.of(table) for table in before.now}
        expected = {table: rows + changes[table][0] - changes[table][1] for table, rows in before.now.items()}
        known = {table: written.checksum_after(table, before.checksums.get(table)) for table in before.now}
        sums = {table: total % MODULUS for table, total in known.items() if total is not None}
        ended = Held(expected, {}, signs, before.counted_at, checksums=sums)
        # Where the ids that it wrote could not be summed up, they are summed up now, for the next sync.
        if signs == wanted and expected.keys() == wanted.keys() == sums.keys():
            return ended
    at, (now, sums) = datetime.now(UTC), counted(reader, source, signs)
    ended.signs = wanted
    before.below_at_end = below = find_below(reader, source, ended, now)
    lost = below.without_known(ended.missed(now, ended.exchanged(now, sums, signs)))
    # Without signs the next sync counts, and says what is lost still, and what is below the silent.
    return Held(now, lost, signs if below.settled else {}, at, checksums=sums)


def _count_beside_shards(
    pipeline: dlt.Pipeline, reader: PipelineReader, source: Source, before: Before, written: WrittenRows | None
) -> Held:
    """Returns the rows when a shard ends, those below records only if no other shard is at work.

    Others only add records, so at least as many are lost as there are fewer than this one leaves itself.
    """
    now = _undisturbed(pipeline, reader, source, before, written) or count_rows(reader, source)
    before.alone = backend_of(pipeline).is_alone(reader, source.name)
    least: RowCounts = {}
    if not (written and written.doubtful):
        for table, rows in of_roots(source, before.now or {}).items():
            inserted, deleted = written.of(table) if written else (0, 0)
            least[table] = rows + inserted - deleted
    return Held(now if before.alone else of_roots(source, now), Held(least).gone(now))


def _undisturbed(
    pipeline: dlt.Pipeline, reader: PipelineReader, source: Source, before: Before, written: WrittenRows | None
) -> RowCounts | None:
    """Returns the rows when a shard ends, if the database says that only this one wrote since it counted them."""
    if written is None or written.doubtful or before.now is None or before.seen.keys() != before.now.keys():
        return None
    wanted = {table: sign.after(*written.of(table)) for table, sign in before.seen.items()}
    if _signs_at_end(pipeline, reader, source, before.seen, written) != wanted:
        return None
    changes = {table: written.of(table) for table in before.now}
    return {table: rows + changes[table][0] - changes[table][1] for table, rows in before.now.items()}


def _signs_at_end(
    pipeline: dlt.Pipeline, reader: PipelineReader, source: Source, since: Mapping[str, Sign], written: WrittenRows
) -> dict[str, Sign]:
    """Returns the signs once they count what this sync has written: a session tells that when it has ended."""
    none = Sign("", 0, 0)
    least = {table: since.get(table, none).after(*written.of(table)) for table in counted_tables(source)}
    for _ in range(WAITS):
        signs = signs_of(pipeline, reader, source, Shard())
        if not any(
            sign.inserted < least[table].inserted or sign.deleted < least[table].deleted
            for table, sign in signs.items()
        ):
            break
        reader.rows(source.name, "select pg_sleep(0.05)")
    return signs


def _uncounted(reader: PipelineReader, source: Source, now: RowCounts) -> Held | None:
    """Returns a note that rows may be lost, where records are proven and nobody counted them."""
    if not now:
        return None
    main = source.main
    killed = not reader.rows(source.name, "select 1 from {0} limit 1", "runs")
    if killed and not lacks_newest(reader, source.name, main.name, main.time_column):
        return Held(now)  # a first sync was killed before its end
    there = reader.columns(source.name, [COVERAGE.name]).get(COVERAGE.name, set())
    if not there.issuperset(PROOF_COLUMNS):
        return Held(now)  # a column was dropped: it is made again, and all is read again
    proofs = read_proofs(reader, source.name, main.name, "last_checked_at is not null") or []
    return Held(now, {main.name: UNCOUNTED}) if proofs else Held(now)


def describe_lost_rows(commands: Commands, lost: RowCounts) -> list[str]:
    """Returns a message for each table with lost rows: how many, and the command that brings them back."""
    name, gaps = commands.source.name, commands.typed(f"gaps {commands.source.name}")
    reset = commands.typed(commands.reset, unchosen=bool(chosen_ids(commands.source)))
    return [
        f"{name}.{table}: {rows:,} rows that were there after the last sync are gone;"
        f" `{reset}` reads all again; `{gaps}` names what is cheaper"
        for table, rows in lost.items()
    ]


def describe_foreign_rows(commands: Commands, more: RowCounts) -> list[str]:
    """Returns a message for each table with rows that no record was loaded with, and the command that ends it."""
    repair = commands.typed(commands.repair, unchosen=bool(chosen_ids(commands.source)))
    return [
        f"{commands.source.name}.{table}: {rows:,} rows are there that no record was loaded with;"
        f" `{repair}` reads those records again"
        for table, rows in more.items()
    ]
