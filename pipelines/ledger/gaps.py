"""What is not proven complete: every interval, parent and record, with the command that fills it.

Reads the destination alone. What it cannot know: what came after the vendor was last asked (that is freshness), and
what was deleted behind everyone's back since the last count (`gapless verify` asks the vendor for that).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from gapless.pipelines.destinations.reader import Reader, Rows, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.ledger import backfills
from gapless.pipelines.ledger.status import BEGINNING, COMPLETED, as_utc
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOADS
from gapless.sources._ledger.shard import Shard


@dataclass(frozen=True)
class Gap:
    source: str
    kind: str
    """never synced, interval, never asked, failing, set back, dead letter, lost, stale, backfill"""
    stream: str
    parent: str
    """Empty: the stream as a whole."""
    since: str | None
    """Null: from the beginning."""
    until: str | None
    why: str
    fill: str
    """The command that fills it."""


def gaps(target: Target, names: list[str], now: datetime | None = None) -> Iterator[Gap]:
    """Of `names`, or of every source that has been synced to `place`. Raises Locked while a sync writes."""
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
    """One source's gaps."""

    def __init__(self, target: Target, reader: Reader, source: Source, now: datetime) -> None:
        self._target, self._reader, self._source, self._now = target, reader, source, now
        self._stream = source.stream
        self._main = source.main
        columns = "parent, covered_to, last_checked_at, missing, error, failures"
        select = f"select {columns} from {{0}} where {COMPLETED} and stream = '{self._main.name}'"
        self._coverage = {row[0]: row[1:] for row in self._rows(select, "coverage", LOADS)}

    def gaps(self) -> Iterator[Gap]:
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

    def _gap(self, kind: str, why: str, fill: str, parent: str = "", **more: Any) -> Gap:
        facts = {"stream": self._main.name, "since": None, "until": None, **more}
        return Gap(self._source.name, kind, parent=parent, why=why, fill=self._command(fill), **facts)

    def _command(self, fill: str) -> str:
        """Returns the command as it is typed; each of two commands names the destination."""
        name = self._target.destination
        where = "" if name == "duckdb" or "copy" in fill else f" --destination {shlex.quote(name)}"
        append = " --accept-append" if self._target.appends else ""
        parts = [(one, append if one.startswith("sync") else "") for one in fill.split(" && ")]
        return " && ".join(f"gapless {one}{'' if one.startswith('copy') else where}{extra}" for one, extra in parts)

    def _sync(self, parent: str = "") -> str:
        """A lead can be asked for alone; of the others the next sync asks first who is behind."""
        alone = self._stream.by_id == "parent" and parent
        return f"sync {self._source.name}" + (f" --id {shlex.quote(parent)}" if alone else "")

    def _intervals(self) -> Iterator[Gap]:
        for parent, (_, _, missing, _, _) in self._coverage.items():
            for since, until in (json.loads(missing) if isinstance(missing, str) else missing) or []:
                why = "an interrupted walk has not read it yet"
                yield self._gap("interval", why, self._sync(parent), parent, since=since, until=until)

    def _never_asked(self) -> Iterator[Gap]:
        for parent in self._read_parents():
            if parent not in self._coverage:
                yield self._gap("never asked", "listed, and never read", self._sync(parent), parent)

    def _read_parents(self) -> list[str]:
        """Parents whose records are asked for; those without records need no coverage."""
        parents = self._stream.parents
        if parents is None:
            return []
        listing = parents.table
        rows = self._rows(f"select {listing.id_column} from {{0}} where {parents.condition()}", listing.name)
        return [str(parent) for (parent,) in rows]

    def _parents(self) -> Iterator[Gap]:
        for parent, (covered, checked, _, error, failures) in self._coverage.items():
            since = _text(covered)
            if failures:
                why = f"failed {failures:,} times: {error}"
                yield self._gap("failing", why, self._sync(parent), parent, since=since)
            elif checked is None:
                why = "its proof was set back by gapless state, and it was not asked since"
                yield self._gap("set back", why, self._sync(parent), parent, since=since)

    def _letters(self) -> Iterator[Gap]:
        select = "select stream, kind, key, parent, reason, attempts from {0} where healed_at is null"
        for stream, kind, key, parent, reason, attempts in self._rows(select, "dead_letters"):
            told = f"{kind} {key}: {reason} ({attempts:,} attempts)"
            if kind != "parent":
                fill = self._again(stream, kind, parent, reason)
                yield self._gap("dead letter", told, fill, parent or "", stream=stream)
            elif not self._coverage.get(key, (None,) * 5)[-1]:
                yield self._gap("failing", told, self._sync(key), key, stream=stream)

    def _again(self, stream: str, kind: str, parent: str | None, reason: str) -> str:
        """A sync asks for what failed first; one record read by its id would not move the proof."""
        name = self._source.name
        if reason.startswith("not copied: "):
            return f"sync {name} && copy --to {shlex.quote(self._target.destination)}"  # once it is mended there
        by_walk = self._stream.walks and (kind == "nameless" or self._stream.by_id is None)
        if by_walk:  # only a walk over all shows that it is mended
            return f"state reset {name} --yes && sync {name}"
        return self._sync(parent or "") if stream == self._main.name else f"sync {name}"

    def _lost(self) -> Iterator[Gap]:
        """Fewer rows than there were when the last sync ended."""
        told = self._rows("select held from {0} where held is not null order by finished_at desc limit 1", "runs")
        held = told[0][0] if told else {}
        before: dict[str, int] = json.loads(held) if isinstance(held, str) else held
        lost = {}
        for name, rows in before.items():
            found = self._rows("select count(*) from {0}", name)
            lost[name] = rows - (int(found[0][0]) if found else 0)
        roots = any(rows > 0 and "__" not in name for name, rows in lost.items())
        name = self._source.name
        fill = f"verify {name} --repair" if roots else f"state reset {name} --yes && sync {name}"
        for stream, rows in lost.items():
            if rows > 0:
                yield self._gap("lost", f"{rows:,} rows are gone since the last sync", fill, stream=stream)

    def _stale(self) -> Iterator[Gap]:
        """Who is asked each time, and was not for too long; all of them at once, as by a sync that never ran."""
        keeps = self._source.facts.keeps
        if not keeps:
            return
        asked = set(self._read_parents()) if self._stream.parents else {""}
        rows = [row for parent, row in self._coverage.items() if parent in asked and not (row[3] and not row[4])]
        checked = [at for row in rows if (at := as_utc(row[1])) and self._now - at > keeps]
        if checked:
            why = (
                f"{len(checked):,} of {len(rows):,} were not asked for longer than the vendor keeps records"
                f" ({keeps.days} days): what it forgot is lost"
            )
            yield self._gap("stale", why, self._sync(), since=_text(min(checked)), until=_text(self._now))

    def _shards(self) -> Iterator[Gap]:
        """Parts of the newest split that never ran, unless all was read at once since."""
        told = self._rows("select shard, finished_at from {0} order by finished_at desc", "runs")
        newest = next((shard for shard, _ in told), None)
        if newest is None:
            return
        of = Shard.parse(newest).of
        there = {shard for shard, _ in takewhile(lambda row: row[0] is not None, told)}
        for number in range(1, of + 1):
            if str(Shard(number, of)) not in there:
                why = f"shard {number}/{of} has not run: its parents are not even listed"
                yield self._gap("shard", why, f"sync {self._source.name} --shard {number}/{of}")

    def _backfills(self) -> Iterator[Gap]:
        for since, until, kept in backfills.unfinished(self._reader, self._source):
            failed = f", {kept.failed:,} failed" if kept.failed else ""
            fill = f"backfill {self._source.name} --since {since} --until {until}"
            yield self._gap("backfill", f"stopped at {kept.part or 0:.0%}{failed}", fill, since=since, until=until)


def _text(value: Any) -> str | None:
    found = as_utc(value)
    return found.isoformat() if found and found != BEGINNING else None
