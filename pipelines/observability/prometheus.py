"""Writes what the destination holds of each source in Prometheus' text format, for a scrape or a textfile collector.

Labels are accounts, streams, tables and kinds, so that there are few; no id may enter.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.ledger.status import Status

Sample = tuple[str, dict[str, str], float]
"""Name of the metric without the prefix, labels, value."""
METRICS = {
    "complete": "Whether everything that was asked for is proven complete (1) or there are gaps (0).",
    "gaps": "Gaps that gapless gaps lists, by kind.",
    "dead_letters": "Records and parents that failed and are not healed, by kind.",
    "newest_record_timestamp_seconds": "Creation time of the newest record.",
    "checked_timestamp_seconds": "When the vendor was last read.",
    "proven_timestamp_seconds": "Up to when all parents are proven complete; absent if one of them is not at all.",
    "parents": "Parents of a stream; a listing without parents counts as one.",
    "failing_parents": "Parents that failed when they were last read.",
    "table_rows": "Rows of a table.",
    "last_sync_timestamp_seconds": "When the last sync began.",
    "last_sync_outcome": "1 for the outcome of the last sync: complete, partial or failed.",
}
"""Every metric is a gauge: name without the prefix -> help. Times are seconds since 1970."""


def lines(found: list[Status]) -> Iterator[str]:
    """Yields the lines of the exposition; a metric without a sample is left out."""
    samples = defaultdict[str, list[str]](list)
    for one in found:
        for name, labels, value in _samples(one):
            account = {"source": SOURCES[one.source].vendor, "account": one.source}
            text = ",".join(f'{label}="{_escaped(value)}"' for label, value in {**account, **labels}.items())
            samples[name].append(f"gapless_{name}{{{text}}} {value:.15g}")
    for name, help_text in METRICS.items():
        if samples[name]:
            yield from (f"# HELP gapless_{name} {help_text}", f"# TYPE gapless_{name} gauge", *samples[name])


def _samples(one: Status) -> Iterator[Sample]:
    yield "complete", {}, one.complete
    yield from (("gaps", {"kind": kind}, count) for kind, count in one.gaps.items())
    yield from (("dead_letters", {"kind": kind}, count) for kind, count in one.dead_letters.items())
    yield from _time("newest_record", {}, one.newest)
    for name, stream in one.coverage.items():
        of_stream = {"stream": name}
        yield "parents", of_stream, stream.parents
        yield "failing_parents", of_stream, stream.failed
        yield from _time("checked", of_stream, stream.last_checked_at)
        yield from _time("proven", of_stream, stream.covered_to)
    yield from (("table_rows", {"table": name}, count) for name, count in one.rows.items())
    if run := one.last_run:
        yield from _time("last_sync", {}, run["started_at"])
        yield "last_sync_outcome", {"outcome": str(run["outcome"])}, 1


def _time(name: str, labels: dict[str, str], at: datetime | None) -> Iterator[Sample]:
    """Yields a time as seconds since 1970; nothing for a time that is not known."""
    if at is not None:
        yield f"{name}_timestamp_seconds", labels, at.astimezone(UTC).timestamp()


def _escaped(value: str) -> str:
    """Returns the text of a label as the format wants it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
