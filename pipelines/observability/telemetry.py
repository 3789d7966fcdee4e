"""OpenTelemetry: reads the standard variables and sends to the collector what traces.py and metrics.py record.

OpenTelemetry is imported only when a variable asks for it. No error of it changes a sync: a collector that hangs
costs at most `collector.FLUSH_TIMEOUT` per sync.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from gapless.pipelines.observability.collector import SIGNALS, WARNING, Collector, Report, insecure

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.observability.package_trace import NamedPipeline, PackageTrace
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._http.stats import Attempt
    from gapless.sources._ledger.session import Session


class Watcher(Protocol):
    """Is called while a sync runs."""

    def round(self, names: list[str]) -> AbstractContextManager[None]:
        """Returns a block for one sync of the sources `names`."""

    def start(self, name: str, session: Session) -> None:
        """Is called when a source begins."""

    def end(self, outcome: Outcome) -> None:
        """Is called when a source has ended."""


class NullWatcher:
    """Does nothing; used when no variable asks for telemetry."""

    @contextmanager
    def round(self, names: list[str]) -> Iterator[None]:
        """Does nothing."""
        yield

    def start(self, name: str, session: Session) -> None:
        """Does nothing."""

    def end(self, outcome: Outcome) -> None:
        """Does nothing."""


class Recorder(Protocol):
    """Records what happens during a sync: traces.py and metrics.py have one each."""

    def begin(self, names: list[str]) -> None:
        """Is called before the first source."""

    def start(self, name: str, session: Session) -> None:
        """Is called when a source begins."""

    def attempt(self, name: str, attempt: Attempt) -> None:
        """Is called after each HTTP request, retries included."""

    def package(self, name: str, trace: PackageTrace) -> None:
        """Is called with dlt's trace of a load package, also of one that failed."""

    def end(self, outcome: Outcome) -> None:
        """Is called when a source has ended."""

    def finish(self, error: BaseException | None) -> None:
        """Is called after the last source, or with the error that ended the sync."""


@contextmanager
def watching(target: Target, report: Report) -> Iterator[Watcher]:
    """Yields the watcher that the variables ask for; `report` prints problems with them or with the collector."""
    signals = [signal for signal in SIGNALS if _wanted(signal, report)]
    try:
        collector = Collector(signals, report) if signals else None
    # OpenTelemetry is an extra; a variable that other programs need must not end a sync here.
    except ImportError:
        report(
            "an OTEL_… variable asks for OpenTelemetry, which is not installed: pip install -e '.[otel]'", **WARNING
        )
        collector = None
    if collector is None:
        yield NullWatcher()
        return
    from gapless.pipelines.observability.metrics import Metrics
    from gapless.pipelines.observability.traces import Traces

    traces = Traces(collector.tracers.get_tracer("gapless"), target)
    metrics = Metrics(collector.meters.get_meter("gapless"), target)
    try:
        yield _Telemetry((traces, metrics), collector)
    finally:
        collector.close()


def _wanted(signal: str, report: Report) -> bool:
    """Returns whether the standard variables ask for a signal; reports an unsupported exporter or protocol."""
    own = signal.upper()
    exporter = os.environ.get(f"OTEL_{own}_EXPORTER", "").strip().lower()
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get(f"OTEL_EXPORTER_OTLP_{own}_ENDPOINT")
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if off or exporter == "none" or not (exporter or endpoint):
        return False
    # The variable may name several exporters, and we are one of them.
    if exporter and "otlp" not in exporter.split(","):
        report(f"OTEL_{own}_EXPORTER={exporter}: gapless supports otlp and none; no {signal} are sent", **WARNING)
        return False
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{own}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    # gRPC would need another package of OpenTelemetry's, and a compiled library.
    if protocol and protocol != "http/protobuf":
        report(f"OTLP protocol {protocol}: gapless supports http/protobuf; no {signal} are sent", **WARNING)
        return False
    if problem := insecure(signal):
        report(problem, **WARNING)
        return False
    return True


def problems() -> list[str]:
    """Returns what is wrong with the variables, in sentences; sends nothing."""
    found: list[str] = []

    def report(text: str, **_: object) -> None:
        found.append(text)

    for signal in SIGNALS:
        _wanted(signal, report)
    return found


class _Telemetry:
    """Passes every event to the recorders of traces and metrics; their errors are dropped."""

    def __init__(self, recorders: tuple[Recorder, ...], collector: Collector) -> None:
        self._recorders, self._collector = recorders, collector

    @contextmanager
    def round(self, names: list[str]) -> Iterator[None]:
        """Records one sync of `names` and sends it when the block ends."""
        from gapless.pipelines.destinations._dlt.runtime import tracked

        error: BaseException | None = None
        self._each("begin", names)
        try:
            # dlt keeps trackers in a list of the whole process, so ours stays no longer than the round.
            with tracked(self):
                yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._each("finish", error)
            # At the end of each round, as a process that ends or waits for hours sends nothing by itself.
            self._collector.flush()

    def start(self, name: str, session: Session) -> None:
        """Records the start of a source, and each of its requests."""
        self._each("start", name, session)
        if session.client:
            session.client.watch = lambda attempt: self._each("attempt", name, attempt)

    def end(self, outcome: Outcome) -> None:
        """Records the end of a source."""
        self._each("end", outcome)

    def on_end_trace(self, trace: PackageTrace, pipeline: NamedPipeline, send_state: bool) -> None:
        """Is called by dlt after each load package, also one that failed."""
        self._each("package", pipeline.pipeline_name, trace)

    def on_start_trace(self, *_: object) -> None:
        """Is called by dlt; there is nothing to record yet."""

    def on_start_trace_step(self, *_: object) -> None:
        """Is called by dlt; there is nothing to record yet."""

    def on_end_trace_step(self, *_: object) -> None:
        """Is called by dlt; the trace at the end has the steps."""

    def _each(self, event: str, *facts: object) -> None:
        for recorder in self._recorders:
            with suppress(Exception):  # a bug in telemetry must not end a sync
                getattr(recorder, event)(*facts)
