"""Summarises what the destination knows about each source. Sends no request to a vendor and changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gapless.pipelines.destinations._layouts.layout import read_layout
from gapless.pipelines.destinations.reader import Reader, Rows, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.completeness import verdicts
from gapless.pipelines.evidence.gap import Gap
from gapless.pipelines.evidence.grouping import Problem, problems
from gapless.pipelines.evidence.known import Known
from gapless.pipelines.evidence.proofs import Interval, as_utc, low_watermark, read_proofs
from gapless.pipelines.evidence.rounds import last_round, read_rounds
from gapless.pipelines.evidence.seen import take_in_left
from gapless.pipelines.evidence.sentences import described
from gapless.sources import SOURCES, Source
from gapless.sources._dlt.literals import text_literal
from gapless.sources._dlt.tables import LOADS
from gapless.sources._schema.columns import TableSchema

JsonObject = dict[str, Any]


@dataclass
class Coverage:
    """The proofs of one stream, summed over its parents; a listing without parents counts as one parent."""

    parents: int = 0
    failed: int = 0
    gone: int = 0
    """Parents that the vendor does not have any more."""
    covered_from: datetime | None = None
    covered_to: datetime | None = None
    """Up to when all parents are proven complete."""
    newest_covered_to: datetime | None = None
    """The newest watermark of a parent."""
    unproven: int = 0
    """Parents that were reset: the next sync reads all of them again."""
    missing: list[Interval] = field(default_factory=list)
    """Intervals not read yet."""
    last_checked_at: datetime | None = None

    @property
    def complete(self) -> bool:
        """Returns whether nothing is known to be missing."""
        return not (self.failed or self.unproven or self.missing)

    def to_json(self) -> JsonObject:
        """Returns the fields as values; times stay times."""
        return {**asdict(self), "complete": self.complete}


@dataclass
class Drift:
    """Fields that the vendor sends and the model does not declare; they are stored in `_extra`."""

    rows: int
    fields: list[str]


@dataclass
class Status:
    """What a destination holds of one source; times are in UTC."""

    source: str
    newest: datetime | None = None
    """Creation time of the newest record."""
    rows: dict[str, int] = field(default_factory=dict)
    """Row counts by table."""
    coverage: dict[str, Coverage] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)
    """Numbers of open dead letters, by kind."""
    last_run: JsonObject | None = None
    """The last sync of all that is new; a sync of a part says nothing of the rest."""
    drift: dict[str, Drift] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    """Numbers of gaps, by kind, as `gapless gaps` lists them."""
    open: list[Gap] = field(default_factory=list)
    """The gaps."""
    layout: int = 1
    """The layout of the dataset; 1 where it carries none."""

    @property
    def problems(self) -> list[Problem]:
        """Returns what is not complete, one for each reason."""
        return problems(self.open)

    def described_problems(self) -> list[JsonObject]:
        """Returns the problems as JSON values, each with its sentence."""
        return [*map(described, self.problems)]

    @property
    def complete(self) -> bool:
        """Returns whether everything that was asked for is proven complete."""
        return not self.gaps

    @property
    def fresh(self) -> bool:
        """Returns whether all parents were read within the vendor's retention and the age that was asked for."""
        # Without any check in the ledger there is no evidence.
        return "stale" not in self.gaps and any(stream.last_checked_at for stream in self.coverage.values())

    def to_json(self) -> JsonObject:
        """Returns the fields without the source's name; times stay times."""
        content = {**asdict(replace(self, open=[])), "complete": self.complete}
        del content["source"], content["open"]
        content["problems"] = self.described_problems()
        return {**content, "coverage": {name: stream.to_json() for name, stream in self.coverage.items()}}


def statuses(target: Target, max_age: timedelta | None = None) -> Iterator[Status]:
    """Yields the status of every source that was synced to `target`. Raises Locked while a sync writes.

    A source whose last check is older than `max_age` has a gap, too.
    """
    with reading(target) as reader:
        take_in_left(reader, target)
        for found in verdicts(reader, target, max_age=max_age):
            yield _status(reader, SOURCES[found.source], found.gaps)


def _status(reader: Reader, source: Source, gaps: list[Gap]) -> Status:
    layout = None if reader.appends else read_layout(reader, source.name)
    status = Status(source.name, layout=layout.version if layout else 1)
    status.open = gaps
    status.gaps = dict(Counter(gap.kind for gap in gaps))
    # A query of a damaged table would fail the whole status.
    damaged = {gap.stream for gap in gaps if gap.kind == "damaged"}
    for table in source.tables:
        for shape in table.schema.tree():
            if shape.name not in damaged:
                _table(reader, status, shape)
    if source.main.name not in damaged:
        status.newest = _newest(reader, source)
    if not damaged & {"coverage", LOADS}:
        status.coverage = coverage(reader, source.name)
    if "dead_letters" not in damaged:
        open_letters = "select kind, count(*) from {0} where healed_at is null group by kind"
        kinds = reader.rows(source.name, open_letters, "dead_letters") or []
        status.dead_letters = dict(sorted((kind, int(count)) for kind, count in kinds))
    if "runs" not in damaged:
        status.last_run = _last_run(reader, source.name)
    return status


def _table(reader: Reader, status: Status, shape: TableSchema) -> None:
    # Child tables of plain values have no `_extra`.
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


def _fields(texts: Rows) -> list[str]:
    names: Counter[str] = Counter()
    for (text,) in texts:
        names.update(list(json.loads(text) if isinstance(text, str) else text))
    return [name for name, _ in names.most_common()]


def _newest(reader: Reader, source: Source) -> datetime | None:
    column = source.main.time_column
    found = reader.rows(source.name, f"select max({column}) from {{0}}", source.main.name) if column else None
    return as_utc(found[0][0]) if found else None


def freshness(target: Target, names: list[str]) -> dict[str, tuple[datetime | None, datetime | None]]:
    """Returns by source the times of the newest record and of the last check. Raises as `statuses`."""
    found = {}
    with reading(target) as reader:
        for name in names:
            known = Known(reader, SOURCES[name])
            checked = known.rows(name, "select max(last_checked_at) from {0}", "coverage")
            found[name] = (_newest(known, SOURCES[name]), as_utc(checked[0][0]) if checked else None)
    return found


def coverage(reader: Reader, dataset: str) -> dict[str, Coverage]:
    """Returns the coverage of a dataset by stream."""
    streams: dict[str, Coverage] = {}
    proofs = read_proofs(reader, dataset) or []
    for proof in proofs:
        stream = streams.setdefault(proof.stream, Coverage())
        stream.parents += 1
        stream.failed += proof.failures > 0
        stream.gone += proof.gone
        stream.unproven += proof.reset
        # The latest start: only from there on all parents are covered.
        stream.covered_from = _later(stream.covered_from, proof.covered_from)
        stream.newest_covered_to = _later(stream.newest_covered_to, proof.proven_to)
        stream.last_checked_at = _later(stream.last_checked_at, proof.last_checked_at)
        stream.missing += proof.missing
    for name, stream in streams.items():
        stream.covered_to = low_watermark(proof for proof in proofs if proof.stream == name)
    return streams


def _last_run(reader: Reader, dataset: str) -> JsonObject | None:
    """Returns the last sync of all that is new; of shards the one that came off worst."""
    last = last_round(read_rounds(reader, dataset, datetime.now(UTC)))
    columns = ("started_at", "finished_at", "outcome", "rows", "requests", "failures", "error", "shard")
    quoted = ", ".join(f'"{column}"' for column in columns)
    select = f"select {quoted} from {{0}} where run_id = {text_literal(last.run_id if last else '', '{chr}')}"
    found = reader.rows(dataset, select, "runs")
    if not found:
        return None
    run = dict(zip(columns, found[0], strict=True))
    return run | {name: as_utc(run[name]) for name in columns[:2]}


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)
