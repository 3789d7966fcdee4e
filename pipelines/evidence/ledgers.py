"""Finds the gaps that the ledger shows: proofs, dead letters, runs, shards, backfills, the privacy policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial

from gapless.pipelines.destinations.reader import Reader, Rows
from gapless.pipelines.evidence.gap import IN_DOUBT, Commands, Failed, Gap, Kind
from gapless.pipelines.evidence.policy import is_applicable, policy_changed
from gapless.pipelines.evidence.proofs import Interval, Proof, as_utc, read_proofs
from gapless.pipelines.evidence.rounds import Round, failed_since, last_round, never_ran, read_rounds
from gapless.pipelines.evidence.rows.counts import RowCounts
from gapless.pipelines.evidence.stored_state import backfills, erased_here, resource_state
from gapless.pipelines.printable import counted, quoted
from gapless.sources import Source
from gapless.sources._dlt.literals import text_literal
from gapless.sources._ledger.erasure.tombstones import ERASED, NOTHING_ERASED
from gapless.sources._ledger.markers import GONE, LOST, NOT_FOLLOWED, NOT_KEPT
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.stored.cells import instant

OPEN = "(failures > 0 or missing is not null or last_checked_at is null)"
"""SQL condition on a proof that leaves something open."""


TOGETHER = 50
"""Parents counted by one statement."""
IN_LIST_MAX = 2_000
"""Parents that are counted one by one; of more all rows are read at once."""
ANY_ROW = "select 1 from {0} limit 1"
NO_PARENT = "''"
"""The parent of records of a listing without parents, in SQL."""


class LedgerGaps:
    """Finds the gaps of one source in its ledger."""

    def __init__(
        self, reader: Reader, source: Source, commands: Commands, now: datetime, rows: RowCounts | None = None
    ) -> None:
        """Takes the counts of all rows, where they are known."""
        self._counts = rows or {}
        self._reader, self._source, self._commands, self._now = reader, source, commands, now
        self._stream, self._main = source.stream, source.main

    def all(self, max_age: timedelta | None) -> list[Callable[[], Iterator[Gap]]]:
        """Returns what finds each kind of gap, in the order in which they are shown."""
        return [
            self.rounds,
            self.intervals,
            self.never_asked,
            self.parents,
            self.fewer,
            self.letters,
            partial(self.stale, max_age),
            self.shards,
            self.backfills,
            self.policy,
        ]

    def _rows(self, select: str, *tables: str) -> Rows:
        return self._reader.rows(self._source.name, select, *tables) or []

    def _gap(
        self,
        kind: Kind,
        why: str,
        fill: str,
        parent: str = "",
        *,
        since: str | None = None,
        until: str | None = None,
        stream: str = "",
        failed: Failed = Failed(),  # noqa: B008 - a constant
    ) -> Gap:
        of = self._parents_in_all if parent and not failed.key else None
        where = (self._source.name, kind, stream or self._main.name, parent, since, until)
        return Gap(*where, why, self._commands.typed(fill), failed, of)

    @cached_property
    def _parents_in_all(self) -> int:
        """Returns how many parents there are, without those that the vendor does not list any more."""
        listed = len(self._read_parents())
        # Ids that a setting names are not listed, and a parent that is new has no proof.
        return max(listed, self._count_proofs())

    def _count_proofs(self) -> int:
        closed = " or ".join(f"error like '{mark}%'" for mark in (GONE, NOT_FOLLOWED))
        select = f"select count(*) from {{0}} where stream = '{self._main.name}' and parent <> ''"
        found = self._rows(f"{select} and not (failures = 0 and error is not null and ({closed}))", "coverage")
        return int(found[0][0]) if found else 0

    @cached_property
    def _open(self) -> list[Proof]:
        proofs = read_proofs(self._reader, self._source.name, self._main.name, OPEN) or []
        return [*proofs, *(proof for proof in self._proofs.values() if proof.broke_off)]

    @cached_property
    def _proofs(self) -> dict[str, Proof]:
        proofs = read_proofs(self._reader, self._source.name, self._main.name) or []
        return {proof.parent: proof for proof in proofs}

    @cached_property
    def _rounds(self) -> list[Round]:
        return read_rounds(self._reader, self._source.name, self._now)

    def rounds(self) -> Iterator[Gap]:
        """Yields a gap when the last syncs, or those of one shard, failed altogether and left parents unasked."""
        for shard, failed in failed_since(self._rounds):
            if self._asked_all(shard, failed[0]):
                continue  # what it did not read is told of each
            proofs = [one for one in self._proofs.values() if not one.gone and shard.contains(one.parent)]
            since = min(filter(None, (proof.last_checked_at for proof in proofs)), default=None)
            times = f"{len(failed):,} rounds failed" if len(failed) > 1 else "1 round failed"
            when = (
                f"not asked since {since.isoformat(timespec='seconds')}"
                if since
                else self._in_doubt() or "never read"
            )
            how = Failed(failed[0].error or "", times=len(failed), first_at=_text(failed[-1].started_at))
            why, fill = f"{when}, {times}: {failed[0].error}", self._commands.sync(shard=shard)
            yield self._gap("not asked", why, fill, since=_text(since), failed=how)

    def _asked_all(self, shard: Shard, failed: Round) -> bool:
        """Returns whether a round failed after it had asked for everything."""
        asked = [one.last_checked_at for one in self._proofs.values() if not one.gone and shard.contains(one.parent)]
        began, ended = failed.started_at, failed.finished_at
        # What was asked for later, by its id, is no part of that round.
        if not (asked and began and ended):
            return False
        return all(at and began <= at <= ended for at in asked)

    def _in_doubt(self) -> str:
        """Returns that proofs are in doubt, since the last load that broke off; empty where none is."""
        newest = max(filter(None, (proof.broke_off for proof in self._proofs.values())), default=None)
        return f"{IN_DOUBT}{newest:%Y-%m-%d %H:%M} UTC" if newest else ""

    def intervals(self) -> Iterator[Gap]:
        """Yields the intervals that were not read yet, and those that nobody can read any more."""
        for proof in self._open:
            lost = self._lost(proof)
            for since, until in proof.missing:
                if [since, until] in lost and until:
                    why = proof.error if proof.error and proof.error.startswith(LOST) else NOT_KEPT
                    fill = self._commands.acknowledge(until)
                    yield self._gap("lost", why, fill, proof.parent, since=since, until=until)
                else:
                    why = "an interrupted walk has not read it yet"
                    fill = self._commands.sync(proof.parent)
                    yield self._gap("interval", why, fill, proof.parent, since=since, until=until)

    def _lost(self, proof: Proof) -> list[Interval]:
        """Returns the missing intervals that the vendor did not keep; a walk's state knows them from unread ones."""
        if not proof.missing or not self._stream.walks:
            return proof.missing
        lost: list[Interval] = (resource_state(self._reader, self._source) or {}).get("lost", [])
        # The state of a load that broke off went with it, and its proof noted what was lost.
        noted = proof.missing if proof.broke_off and (proof.error or "").startswith(LOST) else []
        return [*lost, *(one for one in noted if None not in one)]

    def never_asked(self) -> Iterator[Gap]:
        """Yields parents that are listed and have no proof; the whole stream when nothing shows that it was read."""
        listed = self._read_parents()
        for parent in listed:
            if parent not in self._proofs:
                # Not by its id: it may be gone by now, and only a sync reads the listing.
                yield self._gap("never asked", "listed, and never read", self._commands.sync(), parent)
        if why := self._unread(listed):
            yield self._gap("never asked", why, self._commands.sync())

    def _unread(self, listed: list[str]) -> str | None:
        """Returns why nothing shows that the stream was read; None when something does."""
        if self._rounds and self._rounds[0].failed:
            return None  # `rounds` says it
        parents = self._stream.parents
        if parents is None:
            return None if self._proofs else "no sync has read it: what is here was asked for by itself"
        if listed or self._listed_at_all():
            return None
        if self._proofs:
            return None if self._chosen() else f"its {parents.noun} were never listed"
        # Nothing is listed, proven or here: that is an account without a parent, if a sync came to its end.
        ended = self._rounds and self._rounds[0].outcome == "complete"
        empty = ended and not self._rows(ANY_ROW, self._main.name)
        return None if empty else f"no sync has listed its {parents.noun}"

    def _listed_at_all(self) -> bool:
        parents = self._stream.parents
        return bool(parents and self._rows(ANY_ROW, parents.table.name))

    def _chosen(self) -> bool:
        """Returns whether a setting names the parents to read, so that nothing is listed."""
        import dlt

        name, setting = self._source.name, self._stream.only
        return bool(setting and (dlt.config.get(f"sources.{name}.{setting}") or dlt.config.get(setting)))

    def _read_parents(self) -> list[str]:
        """Returns the parents to check; those without records need no coverage."""
        parents = self._stream.parents
        if parents is None:
            return []
        listing = parents.table
        rows = self._rows(f"select {listing.id_column} from {{0}} where {parents.condition()}", listing.name)
        return [str(parent) for (parent,) in rows]

    def parents(self) -> Iterator[Gap]:
        """Yields parents that fail, and those whose proof was set back, or replaced by a load that broke off."""
        for proof in self._open:
            since, fill = _text(proof.proven_to), self._commands.sync(proof.parent, proof.error or "")
            if proof.failures:
                why = f"failed {counted(proof.failures, 'times')}: {proof.error}"
                first = self._first_failed.get(proof.parent)
                empty = since is None and proof.records == 0
                how = Failed(proof.error or "", "", proof.failures, _text(first), empty)
                yield self._gap("failing", why, fill, proof.parent, since=since, failed=how)
            elif proof.broke_off:
                why = f"{IN_DOUBT}{proof.broke_off:%Y-%m-%d %H:%M} UTC; the next sync reads it again"
                yield self._gap("set back", why, fill, proof.parent)
            elif proof.last_checked_at is None:
                why = "its proof was set back, and it was not asked since"
                yield self._gap("set back", why, fill, proof.parent, since=since)

    def fewer(self, doubtful: Collection[str] | None = None) -> Iterator[Gap]:
        """Yields parents, or the listing, with fewer records here than the vendor counted when they were last read.

        A record that the vendor deleted stays here, so only a page that lacked some, or a loss here, explains it.
        `doubtful` are the only parents to look at; None: all.
        """
        if self._reader.appends or (doubtful is not None and not doubtful and self._stream.column):
            return
        proofs = [proof for proof in self._proofs.values() if doubtful is None or proof.parent in {*doubtful, ""}]
        counted = [proof for proof in proofs if proof.records and proof.counts_all]
        if not counted:
            return
        here = self._records_by_parent(None if doubtful is None else [proof.parent for proof in counted])
        fewer = [
            (proof, here.get(proof.parent, 0))
            for proof in counted
            if here.get(proof.parent, 0) < (proof.records or 0)
        ]
        known = self._known_to_miss if fewer else ()
        erased = erased_here(self._reader, self._source) if fewer else NOTHING_ERASED
        for proof, rows in fewer:
            if proof.parent not in known and rows + erased.count(proof.parent) < (proof.records or 0):
                why = f"the vendor told {proof.records:,} records, and {rows:,} are here"
                yield self._gap("lost", why, self._commands.repair, proof.parent)

    def _records_by_parent(self, parents: Sequence[str] | None = None) -> dict[str, int]:
        """Returns the number of records here of each parent, or of some; of a listing without, by the empty text."""
        column = self._stream.column
        if column is None and self._main.name in self._counts:
            return {"": self._counts[self._main.name]}
        group = f" group by {column}" if column else ""
        count = f"select {column or NO_PARENT}, count(*) from {{0}}"
        if column is None or parents is None or len(parents) > IN_LIST_MAX:
            return {str(parent): int(rows) for parent, rows in self._rows(count + group, self._main.name)}
        # For each its own, because a database would rather read all than look several up in an index by value.
        each = [f"{count} where {column} = {text_literal(one, '{chr}')}{group}" for one in parents]
        return {
            str(parent): int(rows)
            for begin in range(0, len(each), TOGETHER)
            for parent, rows in self._rows(" union all ".join(each[begin : begin + TOGETHER]), self._main.name)
        }

    @cached_property
    def _known_to_miss(self) -> set[str]:
        """Returns the parents whose missing records have a dead letter, or were left out by a step of the user's."""
        table = self._main.name
        letters = f"select coalesce(parent, '') from {{0}} where healed_at is null and stream = '{table}'"
        found = {parent for (parent,) in self._rows(letters, "dead_letters")}
        if "filtered" in self._reader.columns(self._source.name, ["coverage"]).get("coverage", ()):
            filtered = f"select parent from {{0}} where filtered > 0 and stream = '{table}'"
            found |= {parent for (parent,) in self._rows(filtered, "coverage")}
        return found

    @cached_property
    def _letters(self) -> Rows:
        """Returns stream, kind, key, parent, reason, attempts and first failure of every open dead letter."""
        columns = "stream, kind, key, parent, reason, attempts, first_seen_at"
        return self._rows(f"select {columns} from {{0}} where healed_at is null", "dead_letters")

    @cached_property
    def _first_failed(self) -> dict[str, datetime | None]:
        """Returns when each parent with an open dead letter failed for the first time."""
        main = self._main.name
        return {key: as_utc(at) for stream, kind, key, *_, at in self._letters if (stream, kind) == (main, "parent")}

    def letters(self) -> Iterator[Gap]:
        """Yields the open dead letters."""
        failing = {proof.parent for proof in self._open if proof.failures}
        for stream, kind, key, parent, reason, attempts, first in self._letters:
            # A parent without a key is the listing of parents.
            why = f"{f'{kind} {key}: ' if key else ''}{reason} ({counted(int(attempts), 'attempts')})"
            how = Failed(reason, "" if kind == "parent" else key, int(attempts), _text(as_utc(first)))
            if kind != "parent":
                fill, of = self._commands.retry(stream, kind, parent, reason), parent or self._named(stream, key)
                yield self._gap("dead letter", why, fill, of, stream=stream, failed=how)
            # A failing parent has a proof that says so, and would be told twice.
            elif key not in failing:
                yield self._gap("failing", why, self._commands.sync(key, reason), key, stream=stream, failed=how)

    def _named(self, stream: str, key: str) -> str:
        """Returns the parent that a dead letter of the listing of parents is about; empty for any other stream."""
        parents = self._stream.parents
        return key if parents and stream == parents.table.name else ""

    def stale(self, max_age: timedelta | None = None) -> Iterator[Gap]:
        """Yields one gap for the parents not checked within the vendor's retention, or within `max_age`."""
        read = set(self._read_parents()) if self._stream.parents else {""}
        proofs = [proof for proof in self._proofs.values() if proof.parent in read and not proof.gone]
        checks = [proof.last_checked_at for proof in proofs] or self._listed_at()
        # The vendor's limit first: beyond it records are lost, beyond the user's they are only late.
        for limit, what in ((self._source.facts.keeps, "the vendor keeps records"), (max_age, "--max-age allows")):
            late = [at for at in checks if limit and at and self._now - at > limit]
            if late and limit:
                lost = ": what it forgot is lost" if limit is not max_age else ""
                why = f"{len(late):,} of {len(checks):,} were not asked for longer than {what} ({_span(limit)}){lost}"
                yield self._gap("stale", why, self._commands.sync(), since=_text(min(late)), until=_text(self._now))
                return

    def _listed_at(self) -> list[datetime | None]:
        """Returns when an account without a parent was listed last: no proof says it."""
        last = last_round([one for one in self._rounds if not one.failed])
        return [last.started_at] if last and self._stream.parents else []

    def shards(self) -> Iterator[Gap]:
        """Yields the shards of the newest split that never ran, unless the whole source was synced since."""
        for shard in never_ran(self._rounds):
            why = f"shard {shard} has not run: its parents are not even listed"
            yield self._gap("shard", why, self._commands.sync(shard=shard))

    def policy(self) -> Iterator[Gap]:
        """Yields a gap when the privacy policy is another one than that under which older rows were written."""
        if policy_changed(self._reader, self._source):
            why = f"{self._source.name.upper()}_PRIVACY was changed: older rows are as another policy left them"
            fill = self._commands.apply_policy(here=is_applicable(self._reader, self._source))
            yield self._gap("privacy", why, fill)

    def backfills(self) -> Iterator[Gap]:
        """Yields the backfills that began and are not done, unless all of their window is older than is kept."""
        ((kept,),) = self._rows("select max(kept_from) from {0}", ERASED) or [(None,)]
        for window, progress in backfills(self._reader, self._source).items():
            if "done" in progress:
                continue
            since, _, until = window.partition("/")
            if kept and until and datetime.fromisoformat(until) <= (instant(kept) or self._now):
                continue
            count = len(progress.get("failed", ()))
            why = f"stopped at {progress.get('part') or 0:.0%}" + (f", {count:,} failed" if count else "")
            fill = f"backfill {self._source.name} --since {quoted(since)} --until {quoted(until)}"
            yield self._gap("backfill", why, fill, since=since, until=until)


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _span(time: timedelta) -> str:
    return f"{time.days} days" if time >= timedelta(days=2) else f"{time.total_seconds() / 3600:g} hours"
