"""Finds what is not proven complete: intervals, parents and records, each with the command that fills the gap.

Reads only the destination. So it cannot know what came after the last check (see freshness), nor what was deleted
since the last count (`gapless verify` compares with the vendor).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

from gapless.pipelines.destinations.reader import Reader, Rows, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ledger import backfills
from gapless.pipelines.ledger.proofs import read_proofs
from gapless.pipelines.sync.history import row_counts
from gapless.sources import SOURCES, Source
from gapless.sources._ledger.dead_letters import was_not_copied
from gapless.sources._ledger.shard import Shard


@dataclass(frozen=True)
class Gap:
    """Something that is not proven complete; times are ISO 8601 in UTC."""

    source: str
    kind: str
    """never synced, interval, never asked, failing, set back, dead letter, lost, stale, backfill"""
    stream: str
    parent: str
    """Empty: the whole stream."""
    since: str | None
    """Null: from the beginning."""
    until: str | None
    why: str
    fill: str
    """The command that fills it."""


def gaps(target: Target, names: list[str], now: datetime | None = None) -> Iterator[Gap]:
    """Yields the gaps of `names`, or of every source synced to `target`. Raises Locked while a sync writes."""
    with reading(target) as reader:
        for source in (SOURCES[name] for name in names or SOURCES):
            known = reader.rows(source.name, "select count(*) from {0}", "coverage") is not None
            if known:
                yield from _GapFinder(target, reader, source, now or datetime.now(UTC)).gaps()
            elif names:
                yield Gap(
                    source.name, "never synced", "", "", None, None, "not synced yet", f"gapless sync {source.name}"
                )


class _GapFinder:
    """Finds the gaps of one source."""

    def __init__(self, target: Target, reader: Reader, source: Source, now: datetime) -> None:
        self._target, self._reader, self._source, self._now = target, reader, source, now
        self._stream = source.stream
        self._main = source.main
        proofs = read_proofs(reader, source.name, self._main.name) or []
        self._proofs = {proof.parent: proof for proof in proofs}

    def gaps(self) -> Iterator[Gap]:
        """Yields all gaps, kind by kind."""
        yield from self._intervals()
        yield from self._never_asked()
        yield from self._parents()
        yield from self._letters()
        yield from self._lost()
        yield from self._stale()
        yield from self._shards()
        yield from self._backfills()

    def _rows(self, select: str, *tables: str) -> Rows:
        return self._reader.rows(self._source.name, select, *tables) or []

    def _gap(self, kind: str, why: str, fill: str, parent: str = "", **more: str | None) -> Gap:
        since, until = more.get("since"), more.get("until")
        stream = more.get("stream") or self._main.name
        return Gap(self._source.name, kind, stream, parent, since, until, why, self._command(fill))

    def _command(self, fill: str) -> str:
        """Returns the command to type; adds --destination to each command of a pair."""
        name = self._target.destination
        where = "" if name == "duckdb" or "copy" in fill else f" --destination {shlex.quote(name)}"
        append = " --accept-append" if self._target.appends else ""
        parts = [(one, append if one.startswith("sync") else "") for one in fill.split(" && ")]
        return " && ".join(f"gapless {one}{'' if one.startswith('copy') else where}{extra}" for one, extra in parts)

    def _sync(self, parent: str = "") -> str:
        """Returns the command that reads a parent: by its id, or else a sync, which reads failed parents first."""
        alone = self._stream.by_id == "parent" and parent
        return f"sync {self._source.name}" + (f" --id {shlex.quote(parent)}" if alone else "")

    def _intervals(self) -> Iterator[Gap]:
        for parent, proof in self._proofs.items():
            for since, until in proof.missing:
                why = "an interrupted walk has not read it yet"
                yield self._gap("interval", why, self._sync(parent), parent, since=since, until=until)

    def _never_asked(self) -> Iterator[Gap]:
        for parent in self._read_parents():
            if parent not in self._proofs:
                yield self._gap("never asked", "listed, and never read", self._sync(parent), parent)

    def _read_parents(self) -> list[str]:
        """Returns the parents to check; those without records need no coverage."""
        parents = self._stream.parents
        if parents is None:
            return []
        listing = parents.table
        rows = self._rows(f"select {listing.id_column} from {{0}} where {parents.condition()}", listing.name)
        return [str(parent) for (parent,) in rows]

    def _parents(self) -> Iterator[Gap]:
        for parent, proof in self._proofs.items():
            since = _text(proof.proven_to)
            if proof.failures:
                why = f"failed {proof.failures:,} times: {proof.error}"
                yield self._gap("failing", why, self._sync(parent), parent, since=since)
            elif proof.last_checked_at is None:
                why = "its proof was set back by gapless state, and it was not asked since"
                yield self._gap("set back", why, self._sync(parent), parent, since=since)

    def _letters(self) -> Iterator[Gap]:
        select = "select stream, kind, key, parent, reason, attempts from {0} where healed_at is null"
        for stream, kind, key, parent, reason, attempts in self._rows(select, "dead_letters"):
            why = f"{kind} {key}: {reason} ({attempts:,} attempts)"
            if kind != "parent":
                fill = self._retry(stream, kind, parent, reason)
                yield self._gap("dead letter", why, fill, parent or "", stream=stream)
            elif not (key in self._proofs and self._proofs[key].failures):
                yield self._gap("failing", why, self._sync(key), key, stream=stream)

    def _retry(self, stream: str, kind: str, parent: str | None, reason: str) -> str:
        """Returns the command that retries a dead letter; reading one record by its id moves no watermark."""
        name = self._source.name
        if was_not_copied(reason):
            return f"sync {name} && copy --to {shlex.quote(self._target.destination)}"
        by_walk = self._stream.walks and (kind == "nameless" or self._stream.by_id is None)
        if by_walk:  # only a walk over all shows that it is valid now
            return f"state reset {name} --yes && sync {name}"
        return self._sync(parent or "") if stream == self._main.name else f"sync {name}"

    def _lost(self) -> Iterator[Gap]:
        """Yields tables with fewer rows than when the last sync ended."""
        newest = self._rows("select held from {0} where held is not null order by finished_at desc limit 1", "runs")
        lost = {}
        for table, rows in (row_counts(newest[0][0]) if newest else {}).items():
            found = self._rows("select count(*) from {0}", table)
            lost[table] = rows - (int(found[0][0]) if found else 0)
        # verify compares records, so it does not see lost child rows: then everything is read again.
        roots = any(lost.get(table.name, 0) > 0 for table in self._source.tables)
        name = self._source.name
        fill = f"verify {name} --repair" if roots else f"state reset {name} --yes && sync {name}"
        for stream, rows in lost.items():
            if rows > 0:
                yield self._gap("lost", f"{rows:,} rows are gone since the last sync", fill, stream=stream)

    def _stale(self) -> Iterator[Gap]:
        """Yields one gap for the parents not checked within the vendor's retention."""
        keeps = self._source.facts.keeps
        if not keeps:
            return
        read = set(self._read_parents()) if self._stream.parents else {""}
        proofs = [proof for proof in self._proofs.values() if proof.parent in read and not proof.gone]
        checked = [at for proof in proofs if (at := proof.last_checked_at) and self._now - at > keeps]
        if checked:
            why = (
                f"{len(checked):,} of {len(proofs):,} were not asked for longer than the vendor keeps records"
                f" ({keeps.days} days): what it forgot is lost"
            )
            yield self._gap("stale", why, self._sync(), since=_text(min(checked)), until=_text(self._now))

    def _shards(self) -> Iterator[Gap]:
        """Yields the shards of the newest split that never ran, unless the whole source was synced since."""
        # Only the newest split counts: an older one with other numbers was replaced by it.
        runs = self._rows("select shard, finished_at from {0} order by finished_at desc", "runs")
        newest = next((shard for shard, _ in runs), None)
        if newest is None:
            return
        of = Shard.parse(newest).of
        done = {shard for shard, _ in takewhile(lambda row: row[0] is not None, runs)}
        for number in range(1, of + 1):
            if str(Shard(number, of)) not in done:
                why = f"shard {number}/{of} has not run: its parents are not even listed"
                yield self._gap("shard", why, f"sync {self._source.name} --shard {number}/{of}")

    def _backfills(self) -> Iterator[Gap]:
        for since, until, progress in backfills.unfinished(self._reader, self._source):
            failed = f", {progress.failed:,} failed" if progress.failed else ""
            fill = f"backfill {self._source.name} --since {since} --until {until}"
            yield self._gap(
                "backfill", f"stopped at {progress.part or 0:.0%}{failed}", fill, since=since, until=until
            )


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
