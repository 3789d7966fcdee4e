"""Is it well: what the destination itself says about each source. Asks no vendor and changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.tables import LOADS, is_completed
from gapless.sources._schema.columns import TableSchema

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""What a reset proof is covered to: before every record; not null, which would mean that it was never asked."""
COMPLETED = is_completed("{1}")
"""The ledger's rows that count: a load that broke off proves nothing."""


@dataclass
class Coverage:
    """One stream's proof, over all of its parents (a stream without parents counts as one)."""

    parents: int = 0
    failed: int = 0
    gone: int = 0
    covered_from: datetime | None = None
    covered_to: datetime | None = None
    unproven: int = 0
    """Parents that were reset, so that the next sync reads all of them again."""
    missing: list[list[str | None]] = field(default_factory=list)
    """Intervals not read yet."""
    last_checked_at: datetime | None = None

    @property
    def complete(self) -> bool:
        return not (self.failed or self.unproven or self.missing)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.complete}


@dataclass
class Drift:
    """Fields the vendor sends and the model does not know; they are kept in `_extra`."""

    rows: int
    fields: list[str]


@dataclass
class Status:
    source: str
    newest: datetime | None = None
    rows: dict[str, int] = field(default_factory=dict)
    coverage: dict[str, Coverage] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)
    """Open ones, by kind."""
    last_run: dict[str, Any] | None = None
    drift: dict[str, Drift] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Nothing is known to be missing."""
        return not self.dead_letters and all(stream.complete for stream in self.coverage.values())

    def to_json(self) -> dict[str, Any]:
        content = {**asdict(self), "complete": self.complete}
        del content["source"]
        return {**content, "coverage": {name: stream.to_json() for name, stream in self.coverage.items()}}


def statuses(target: Target) -> Iterator[Status]:
    """Of every source that has been synced to `place`. Raises Locked while a sync writes."""
    with reading(target) as reader:
        for source in SOURCES.values():
            status = _status(reader, source)
            if status.rows:
                yield status


def _status(reader: Reader, source: Source) -> Status:
    status = Status(source.name)
    for table in source.tables:
        for shape in table.schema.tree():
            _table(reader, status, shape)
    if status.rows:
        status.newest = _newest(reader, source)
        status.coverage = coverage(reader, source.name)
        kinds = (
            reader.rows(
                source.name, "select kind, count(*) from {0} where healed_at is null group by kind", "dead_letters"
            )
            or []
        )
        status.dead_letters = dict(sorted((kind, int(count)) for kind, count in kinds))
        status.last_run = _last_run(reader, source.name)
    return status


def _table(reader: Reader, status: Status, shape: TableSchema) -> None:
    knows_drift = any(column.name == "_extra" for column in shape.columns)
    extra = "count(_extra)" if knows_drift else "0"
    found = reader.rows(status.source, f"select count(*), {extra} from {{0}}", shape.name)
    if not found:
        return
    ((rows, drifted),) = found
    status.rows[shape.name] = int(rows)
    if drifted:
        texts = reader.rows(status.source, "select distinct _extra from {0} where _extra is not null", shape.name)
        status.drift[shape.name] = Drift(int(drifted), _fields(texts or []))


def _fields(texts: list[tuple[Any, ...]]) -> list[str]:
    names: Counter[str] = Counter()
    for (text,) in texts:
        names.update(list(json.loads(text) if isinstance(text, str) else text))
    return [name for name, _ in names.most_common()]


def _newest(reader: Reader, source: Source) -> datetime | None:
    column = source.main.time_column
    found = reader.rows(source.name, f"select max({column}) from {{0}}", source.main.name) if column else None
    return as_utc(found[0][0]) if found else None


def freshness(target: Target, names: list[str]) -> dict[str, tuple[datetime | None, datetime | None]]:
    """Of each source the time of its newest record, and when its vendor was last asked. Raises as `statuses`."""
    found = {}
    with reading(target) as reader:
        for name in names:
            checked = reader.rows(name, "select max(last_checked_at) from {0}", "coverage")
            found[name] = (_newest(reader, SOURCES[name]), as_utc(checked[0][0]) if checked else None)
    return found


def coverage(reader: Reader, dataset: str) -> dict[str, Coverage]:
    columns = "stream, covered_from, covered_to, missing, last_checked_at, error, failures"
    select = f"select {columns} from {{0}} where {COMPLETED}"
    streams: dict[str, Coverage] = {}
    for stream, start, end, missing, checked, error, failures in (
        reader.rows(dataset, select, "coverage", LOADS) or []
    ):
        seen = streams.setdefault(stream, Coverage())
        seen.parents += 1
        seen.failed += failures > 0
        seen.gone += bool(error) and not failures
        seen.covered_from = _later(seen.covered_from, start)
        seen.unproven += end is not None and as_utc(end) == BEGINNING
        seen.covered_to = _later(seen.covered_to, end if as_utc(end) != BEGINNING else None)
        seen.last_checked_at = _later(seen.last_checked_at, checked)
        seen.missing += (json.loads(missing) if isinstance(missing, str) else missing) or []
    return streams


def _last_run(reader: Reader, dataset: str) -> dict[str, Any] | None:
    columns = ("started_at", "finished_at", "outcome", "rows", "requests", "failures", "error")
    quoted = ", ".join(f'"{column}"' for column in columns)
    found = reader.rows(dataset, f"select {quoted} from {{0}} order by started_at desc limit 1", "runs")
    if not found:
        return None
    run = dict(zip(columns, found[0], strict=True))
    return run | {name: as_utc(run[name]) for name in columns[:2]}


def _later(one: datetime | None, other: datetime | str | None) -> datetime | None:
    return max(filter(None, (one, as_utc(other))), default=None)


def as_utc(value: datetime | str | None) -> datetime | None:
    """SQLite has no times, only their texts."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
