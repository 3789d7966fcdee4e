"""Metrics: counts by source, the duration and outcome of syncs, and the age of the data.

Labels are sources, tables, outcomes and HTTP statuses, so that there are few; no id may enter.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from gapless.pipelines.outcome import is_vendors

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.observability.package_trace import PackageTrace
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._http.stats import Attempt
    from gapless.sources._ledger.session import Session


class Metrics:
    """Records the metrics of syncs; an exporter reads them every minute."""

    def __init__(self, meter: Meter, target: Target) -> None:
        self._target, self._names = target, list[str]()
        self._times: dict[str, tuple[datetime | None, datetime | None]] = {}
        self._requests = meter.create_counter("gapless.requests", "{request}", "Requests to a vendor, retries too")
        self._retries = meter.create_counter("gapless.retries", "{request}", "Requests that were sent again")
        self._waited = meter.create_counter("gapless.waited", "s", "Time waited for the rate limit or before a retry")
        self._rows = meter.create_counter("gapless.rows", "{row}", "Rows loaded, by table")
        self._syncs = meter.create_counter("gapless.syncs", "{sync}", "Syncs of a source, by outcome")
        self._duration = meter.create_histogram("gapless.sync.duration", "s", "Duration of the sync of a source")
        # Observed, not set: an age grows by itself while no sync runs.
        meter.create_observable_gauge("gapless.freshness", [self._fresh], "s", "Age of the newest record")
        meter.create_observable_gauge("gapless.checked", [self._checked], "s", "Time since the vendor was last read")

    def begin(self, names: list[str]) -> None:
        """Remembers the sources whose freshness is measured."""
        self._names = names

    def start(self, name: str, session: Session) -> None:
        """Does nothing: there is nothing to count yet."""

    def attempt(self, name: str, attempt: Attempt) -> None:
        """Counts a request; status 0 is a connection that failed."""
        self._requests.add(1, {"source": name, "http.response.status_code": attempt.status or 0})
        if attempt.number > 1:
            self._retries.add(1, {"source": name})

    def package(self, name: str, trace: PackageTrace) -> None:
        """Counts the rows of a load package that was loaded."""
        # Rows that were not loaded are read again, and counted then.
        info = trace.last_normalize_info if trace.last_load_info else None
        for table, rows in (info.row_counts if info else {}).items():
            if rows and is_vendors(table):
                self._rows.add(rows, {"source": name, "table": table})

    def end(self, outcome: Outcome) -> None:
        """Records the duration and the outcome of a source's sync."""
        labels = {"source": outcome.source, "outcome": outcome.outcome}
        self._waited.add(outcome.seconds_waited, {"source": outcome.source})
        self._syncs.add(1, labels)
        self._duration.record(outcome.seconds, labels)

    def finish(self, error: BaseException | None) -> None:
        """Reads from the destination how fresh the sources are."""
        from gapless.pipelines.ledger.status import freshness

        self._times |= freshness(self._target, self._names)

    def _fresh(self, _: CallbackOptions) -> Iterator[Observation]:
        """Yields the ages of the newest records."""
        yield from self._since(0)

    def _checked(self, _: CallbackOptions) -> Iterator[Observation]:
        """Yields the times since each vendor was last read."""
        yield from self._since(1)

    def _since(self, which: int) -> Iterator[Observation]:
        """Yields ages that are computed when they are read, so that they grow between two syncs."""
        now = datetime.now(UTC)
        for name, times in list(self._times.items()):  # a copy: the exporter reads in a thread of its own
            if moment := times[which]:
                yield Observation((now - moment).total_seconds(), {"source": name})
