"""Renders what is stored: rows, coverage, state and views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from gapless.pipelines.cli.render.tables import table, when
from gapless.pipelines.outcome import LEDGER_TABLES

if TYPE_CHECKING:
    from gapless.pipelines.ledger.state import SourceState
    from gapless.pipelines.ledger.status import Coverage, Drift, Status
    from gapless.pipelines.views.refresh import ViewCount

FIELDS, NAME_LENGTH = 10, 60
"""How many unknown fields of a table are shown, the most frequent ones, and how many characters of each."""


def status(found: list[Status]) -> Table:
    """Returns a row for each source: newest record, coverage, dead letters, last run."""
    rows = []
    for one in found:
        run = one.last_run
        proven = [_covered(name, stream) for name, stream in one.coverage.items()]
        dead = ", ".join(f"{count:,} {kind}" for kind, count in one.dead_letters.items())
        last = f"{run['outcome']} {when(run['started_at'])}" if run else "none"
        rows.append([one.source, when(one.newest), proven, dead or "none", last])
    return table("", ["source", "newest record", "coverage", "dead letters", "last run"], rows)


def tables(found: list[Status]) -> Table:
    """Returns a row for each table in the destination: row count, and fields that no model knows."""
    rows = [
        [f"{one.source}.{name}", count, _drift(one.drift.get(name))]
        for one in found
        for name, count in one.rows.items()
        if name not in LEDGER_TABLES
    ]
    return table("", ["table", "rows", "unknown fields (in the column _extra)"], rows)


def _drift(seen: Drift | None) -> str | None:
    """Returns the first unknown fields of a table and how many rows have one."""
    if seen is None:
        return None
    more = len(seen.fields) - FIELDS
    names = ", ".join(name if len(name) <= NAME_LENGTH else f"{name[:NAME_LENGTH]}…" for name in seen.fields[:FIELDS])
    others = f" and {more:,} more, which --json lists" if more > 0 else ""
    return f"{names}{others} (in {seen.rows:,} {'row' if seen.rows == 1 else 'rows'})"


def _covered(name: str, stream: Coverage) -> str:
    """Returns what is proven of a stream, on one line."""
    parts = ["complete" if stream.complete else "not complete"]
    parts += [f"to {when(stream.covered_to)}"] if stream.covered_to else []
    if stream.parents > 1:
        parts.append(f"{stream.parents:,} parents")
    counts = {"failed": stream.failed, "gone": stream.gone, "to be read again": stream.unproven}
    parts += [f"{count:,} {what}" for what, count in counts.items() if count]
    parts += [f"not read yet: {start or 'the beginning'} to {end or 'now'}" for start, end in stream.missing]
    return f"{name}: {', '.join(parts)}"


def state(found: list[SourceState]) -> Table:
    """Returns a row for each source: watermark, unfinished walks, coverage."""
    rows = []
    for one in found:
        walks = [
            f"{walk['top']} down to {walk['reached']}, continues to {walk['floor'] or 'the beginning'}"
            for walk in one.state.get("walks", ())
        ]
        proven = [_covered(name, stream) for name, stream in one.coverage.items()]
        rows.append([one.source, one.state.get("watermark"), walks or "none", proven])
    return table("", ["source", "watermark", "unfinished walks", "coverage"], rows)


def views(found: list[ViewCount]) -> Table:
    """Returns a row for each view of the schema activity."""
    rows = [[f"activity.{one.name}", one.rows, one.grain] for one in found]
    return table("", ["view", "rows", "one row per"], rows)
