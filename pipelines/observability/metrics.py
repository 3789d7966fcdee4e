"""Metrics: counts by source, how long a sync took and how it ended, and how fresh the data is.

Labels are sources, tables, outcomes and HTTP statuses, so that their number stays small; no id may enter.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from gapless.pipelines.outcome import LEDGER_TABLES

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._http.stats import Attempt
    from gapless.sources._ledger.session import Session


class Metrics:
    def __init__(self, meter: Meter, target: Target) -> None:
        self._target, self._names = target, list[str]()
        self._times: dict[str, tuple[datetime | None, datetime | None]] = {}
        self._requests = meter.create_counter("gapless.requests", "{request}", "Requests to a vendor, retries too")
        self._retries = meter.create_counter("gapless.retries", "{request}", "Requests that were asked again")
        self._waited = meter.create_counter("gapless.waited", "s", "Waited on the rate budget or before a retry")
        self._rows = meter.create_counter("gapless.rows", "{row}", "Rows loaded, by table")
        self._syncs = meter.create_counter("gapless.syncs", "{sync}", "Syncs of a source, by outcome")
        self._duration = meter.create_histogram("gapless.sync.duration", "s", "Of the sync of a source")
        meter.create_observable_gauge("gapless.freshness", [self._fresh], "s", "Since the newest record's own time")
        meter.create_observable_gauge("gapless.checked", [self._checked], "s", "Since the vendor was last asked")

    def begin(self, names: list[str]) -> None:
        self._names = names

    def start(self, name: str, session: Session) -> None:
        """Nothing to count yet."""

    def attempt(self, name: str, attempt: Attempt) -> None:
        self._requests.add(1, {"source": name, "http.response.status_code": attempt.status or 0})
        if attempt.number > 1:
            self._retries.add(1, {"source": name})

    def package(self, name: str, trace: Any) -> None:
        info = trace.last_normalize_info if trace.last_load_info else None
        for table, rows in (info.row_counts if info else {}).items():
            if rows and table not in LEDGER_TABLES and not table.startswith("_dlt"):
                self._rows.add(rows, {"source": name, "table": table})

    def end(self, outcome: Outcome) -> None:
        labels = {"source": outcome.source, "outcome": outcome.outcome}
        self._waited.add(outcome.seconds_waited, {"source": outcome.source})
        self._syncs.add(1, labels)
        self._duration.record(outcome.seconds, labels)

    def finish(self, error: BaseException | None) -> None:
        from gapless.pipelines.ledger.status import freshness

        self._times |= freshness(self._target, self._names)

    def _fresh(self, _: CallbackOptions) -> Iterator[Observation]:
        yield from self._since(0)

    def _checked(self, _: CallbackOptions) -> Iterator[Observation]:
        yield from self._since(1)

    def _since(self, which: int) -> Iterator[Observation]:
        """Measured when it is asked for, so that between two rounds it grows."""
        now = datetime.now(UTC)
        for name, times in list(self._times.items()):
            if moment := times[which]:
                yield Observation((now - moment).total_seconds(), {"source": name})
