"""Spans: one per sync, per source, per load package with its steps, and per request to a vendor.

A span holds counts, names and outcomes. No query, header, body or id may enter, and no error's text: only its class.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from gapless.pipelines.errors import FAILED, InUse, Locked
from gapless.pipelines.outcome import exit_code, is_vendors
from gapless.sources import SOURCES

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.observability.package_trace import PackageTrace, StepTrace
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._http.stats import Attempt
    from gapless.sources._ledger.session import Session

STEPS = ("extract", "normalize", "load")


class Traces:
    """Records the spans of syncs."""

    def __init__(self, tracer: Tracer, target: Target) -> None:
        self._tracer, self._target = tracer, target
        self._round: Span = INVALID_SPAN
        self._sources: dict[str, Span] = {}
        self._outcomes: list[Outcome] = []

    def begin(self, names: list[str]) -> None:
        """Starts the span of a sync."""
        facts = {"gapless.sources": names, "gapless.destination": self._target.destination}
        self._round, self._outcomes = self._tracer.start_span("sync", attributes=facts), []
        if not self._target.shard.whole:
            self._round.set_attribute("gapless.shard", str(self._target.shard))

    def start(self, name: str, session: Session) -> None:
        """Starts the span of a source."""
        parent, facts = set_span_in_context(self._round), {"gapless.source": name}
        self._sources[name] = self._tracer.start_span(f"sync {name}", parent, attributes=facts)

    def attempt(self, name: str, attempt: Attempt) -> None:
        """Adds a span for a request that has just ended."""
        ended = time.time_ns()  # the client reports a request after it, so the span is dated back
        path = template(attempt.path, SOURCES[name].facts.path_words)
        span = self._tracer.start_span(
            f"{attempt.method} {path}",
            set_span_in_context(self._sources[name]),
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": attempt.method,
                "server.address": attempt.host,
                "url.template": path,
                **({"http.response.status_code": attempt.status} if attempt.status else {}),
                **({"http.request.resend_count": attempt.number - 1} if attempt.number > 1 else {}),
            },
            start_time=ended - int(attempt.seconds * 1e9),
        )
        _set_error(span, attempt.error)
        span.end(ended)

    def package(self, name: str, trace: PackageTrace) -> None:
        """Turns dlt's trace of one load package into spans."""
        steps = [step for step in trace.steps if step.step in STEPS]
        parent = set_span_in_context(self._sources[name])
        package = self._tracer.start_span("load package", parent, start_time=_ns(trace.started_at))
        info = trace.last_normalize_info
        rows = {table: count for table, count in (info.row_counts if info else {}).items() if count}
        vendors = {table: count for table, count in rows.items() if is_vendors(table)}
        package.set_attributes({f"gapless.rows.{table}": count for table, count in vendors.items()})
        below = set_span_in_context(package)
        for step in steps:
            span = self._tracer.start_span(step.step, below, start_time=_ns(step.started_at))
            _set_error(span, _kind(step))
            span.end(_ns(step.finished_at))
        _set_error(package, next(filter(None, map(_kind, trace.steps)), None))
        package.end(_ns(trace.finished_at))

    def end(self, outcome: Outcome) -> None:
        """Ends the span of a source."""
        self._outcomes.append(outcome)
        span = self._sources.pop(outcome.source)
        facts = ("run_id", "outcome", "packages", "requests", "retries", "seconds_waited")
        span.set_attributes({f"gapless.{fact}": getattr(outcome, fact) for fact in facts})
        span.set_attributes({"gapless.failures": len(outcome.failures), "gapless.rows": outcome.rows_written})
        _set_error(span, outcome.error_kind)
        span.end()

    def finish(self, error: BaseException | None) -> None:
        """Ends the span of the sync; `error` has also interrupted the sources that are still open."""
        # A lock that is held is the normal case of two schedules, not an error to be woken by.
        waits = isinstance(error, Locked) and not isinstance(error, InUse)
        kind = type(error).__name__ if error and not waits else None
        # A source that was interrupted has no outcome, and a span that never ends is never sent.
        for name in list(self._sources):
            span = self._sources.pop(name)
            _set_error(span, kind)
            span.end()
        code = getattr(error, "code", FAILED) if error else exit_code(self._outcomes)
        self._round.set_attribute("gapless.exit_code", code)
        _set_error(self._round, kind or ("failed" if code == FAILED else None))
        self._round.end()


def template(path: str, words: Collection[str]) -> str:
    """Returns the path with `{id}` for all but the vendor's own `words`, as in `/api/v1/actions/{id}/logs`."""
    return "/".join(part if not part or part in words else "{id}" for part in path.split("/"))


def _set_error(span: Span, kind: str | None) -> None:
    """Marks a span as failed, by the class of the error."""
    if kind:
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR))


def _kind(step: StepTrace) -> str | None:
    """Returns the class of the error that ended a step, None if it succeeded."""
    if not step.step_exception:
        return None
    traces = step.exception_traces or []
    # The last one is the innermost: dlt wraps what happened several times.
    return str(traces[-1]["exception_type"]).rpartition(".")[2] if traces else "failed"


def _ns(moment: datetime | None) -> int | None:
    """Returns nanoseconds since 1970; None means now to OpenTelemetry."""
    return int(moment.timestamp() * 1e9) if moment else None
