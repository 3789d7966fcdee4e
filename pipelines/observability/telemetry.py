"""OpenTelemetry: reads the standard variables and sends to the collector what traces.py and metrics.py record.

OpenTelemetry is imported only when a variable asks for it. No error of it changes a sync: a collector that hangs
costs at most `FLUSH_TIMEOUT` per sync.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from gapless.pipelines.outcome import own_version

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.observability.package_trace import NamedPipeline, PackageTrace
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._http.stats import Attempt
    from gapless.sources._ledger.session import Session

E = TypeVar("E")
Report = Callable[..., None]
"""Prints a message; keyword arguments are the facts of its JSON line."""

FLUSH_TIMEOUT = 3.0
"""Seconds that the collector may take at the end of a sync."""
SIGNALS = ("traces", "metrics")
DEFAULT_ENDPOINT = "http://localhost:4318"


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
        collector = _Collector(signals, report) if signals else None
    # OpenTelemetry is an extra; a variable that other programs need must not end a sync here.
    except ImportError:
        report(
            "an OTEL_… variable asks for OpenTelemetry, which is not installed: pip install -e '.[otel]'", **_WARNING
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


_WARNING = {"event": "telemetry", "level": "warning"}


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
        report(f"OTEL_{own}_EXPORTER={exporter}: gapless supports otlp and none; no {signal} are sent", **_WARNING)
        return False
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{own}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    # gRPC would need another package of OpenTelemetry's, and a compiled library.
    if protocol and protocol != "http/protobuf":
        report(f"OTLP protocol {protocol}: gapless supports http/protobuf; no {signal} are sent", **_WARNING)
        return False
    return True


class _Telemetry:
    """Passes every event to the recorders of traces and metrics; their errors are dropped."""

    def __init__(self, recorders: tuple[Recorder, ...], collector: _Collector) -> None:
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


class _Collector:
    """Sends through providers of its own: an application that embeds gapless keeps its global ones."""

    def __init__(self, signals: list[str], report: Report) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we report once what it repeats
        self._report, self._failed, self._late = report, set[str](), False
        resource = _resource()
        readers = [PeriodicExportingMetricReader(self._watch_export("metrics", OTLPMetricExporter()))]
        # Both exist in any case, so that no caller asks; one without an exporter sends nothing.
        self.meters = MeterProvider(readers if "metrics" in signals else [], resource, shutdown_on_exit=False)
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if "traces" in signals:
            self.tracers.add_span_processor(BatchSpanProcessor(self._watch_export("traces", OTLPSpanExporter())))

    def flush(self) -> None:
        """Sends what was recorded, and reports what could not be sent."""
        self._late = not _within(FLUSH_TIMEOUT, self.tracers.force_flush, self.meters.force_flush)
        failed = [signal for signal in SIGNALS if self._late or signal in self._failed]
        self._failed.clear()  # each sync reports its own losses
        if failed:
            signals = " and ".join(failed)
            self._report(f"{_collectors()} did not accept all {signals}; the sync is not affected", **_WARNING)

    def close(self) -> None:
        """Ends the threads of the providers."""
        # A collector that hung at the flush hangs again: do not wait for it twice.
        _within(0.0 if self._late else FLUSH_TIMEOUT, self.tracers.shutdown, self.meters.shutdown)

    def _watch_export(self, signal: str, exporter: E) -> E:
        """Returns the exporter, whose failures are noted from now on: it would only log them."""
        export: Callable[..., Enum] = getattr(exporter, "export")  # noqa: B009 - two classes share the method, no base

        def watched(*args: object, **kwargs: object) -> Enum:
            result = export(*args, **kwargs)
            if result.name != "SUCCESS":
                self._failed.add(signal)
            return result

        setattr(exporter, "export", watched)  # noqa: B010
        return exporter


def _resource() -> Resource:
    """Returns the name and version of this service; a name in the environment wins."""
    from opentelemetry.sdk.resources import Resource

    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({"service.version": own_version(), **({} if named else {"service.name": "gapless"})})


def _collectors() -> str:
    """Returns the collectors' hosts; the rest of their URLs may hold a key."""
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", *(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT" for signal in SIGNALS))
    given = [os.environ[name] for name in names if os.environ.get(name)] or [DEFAULT_ENDPOINT]
    return ", ".join(dict.fromkeys(urlsplit(url).netloc.rpartition("@")[2] or "the collector" for url in given))


def _within(seconds: float, *tasks: Callable[[], object]) -> bool:
    """Returns whether all `tasks` ended in time; those past the timeout keep running in the background."""
    threads = [threading.Thread(target=_quietly, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in threads)


def _quietly(task: Callable[[], object]) -> None:
    """Runs a task in a thread, where an error would be printed and could not be handled."""
    with suppress(Exception):
        task()
