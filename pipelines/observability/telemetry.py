"""OpenTelemetry: whether the standard variables ask for it, and the way to the collector. What is told stands in
traces.py and metrics.py.

Nothing of it is imported before a variable asks for it, and whatever happens to it never changes a sync: a collector
that hangs costs `PATIENCE`, no more.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from gapless.pipelines.outcome import own_version

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.outcome import Outcome
    from gapless.sources._ledger.session import Session

Say = Callable[..., None]

PATIENCE = 3.0
"""Seconds; so long may the collector take at the end of a round."""
SIGNALS = ("traces", "metrics")
DEFAULT_ENDPOINT = "http://localhost:4318"


class Watcher(Protocol):
    """Told how a sync goes."""

    def round(self, names: list[str]) -> Any: ...

    def start(self, name: str, session: Session) -> None: ...

    def end(self, outcome: Outcome) -> None: ...


class NullWatcher:
    """Nothing was asked for."""

    @contextmanager
    def round(self, names: list[str]) -> Iterator[None]:
        yield

    def start(self, name: str, session: Session) -> None: ...

    def end(self, outcome: Outcome) -> None: ...


@contextmanager
def watching(target: Target, say: Say) -> Iterator[Watcher]:
    """Who watches the rounds of this block; `say` tells what is wrong with the settings or the collector."""
    signals = [signal for signal in SIGNALS if _wanted(signal, say)]
    try:
        collector = _Collector(signals, say) if signals else None
    except ImportError:
        say("OpenTelemetry is asked for (OTEL_…) and not installed: pip install -e '.[otel]'", **_WARNING)
        collector = None
    if collector is None:
        yield NullWatcher()
        return
    from gapless.pipelines.observability.metrics import Metrics
    from gapless.pipelines.observability.traces import Traces

    traces = Traces(collector.tracers.get_tracer("gapless"), target)
    metrics = Metrics(collector.meters.get_meter("gapless"), target)
    try:
        yield _Telemetry(traces, metrics, collector)
    finally:
        collector.close()


_WARNING = {"event": "telemetry", "level": "warning"}


def _wanted(signal: str, say: Say) -> bool:
    """As the OpenTelemetry specification has it; what gapless cannot do is said and left out."""
    own = signal.upper()
    exporter = os.environ.get(f"OTEL_{own}_EXPORTER", "").strip().lower()
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get(f"OTEL_EXPORTER_OTLP_{own}_ENDPOINT")
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if off or exporter == "none" or not (exporter or endpoint):
        return False
    if exporter and "otlp" not in exporter.split(","):
        say(f"OTEL_{own}_EXPORTER={exporter}: gapless knows otlp and none, so no {signal} are sent", **_WARNING)
        return False
    protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{own}_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol and protocol != "http/protobuf":
        say(f"the OTLP protocol {protocol} is not known here, only http/protobuf: no {signal} are sent", **_WARNING)
        return False
    return True


class _Telemetry:
    """Traces and metrics of the same rounds. What goes wrong in them stays in them."""

    def __init__(self, traces: Any, metrics: Any, collector: _Collector) -> None:
        self._watchers, self._collector = (traces, metrics), collector

    @contextmanager
    def round(self, names: list[str]) -> Iterator[None]:
        from gapless.pipelines.destinations._dlt.runtime import tracked

        error: BaseException | None = None
        self._each("begin", names)
        try:
            with tracked(self):
                yield
        except BaseException as found:
            error = found
            raise
        finally:
            self._each("finish", error)
            self._collector.flush()

    def start(self, name: str, session: Session) -> None:
        self._each("start", name, session)
        if session.client:
            session.client.watch = lambda attempt: self._each("attempt", name, attempt)

    def end(self, outcome: Outcome) -> None:
        self._each("end", outcome)

    def on_end_trace(self, trace: Any, pipeline: Any, send_state: bool) -> None:
        """One load package, also one that failed."""
        self._each("package", pipeline.pipeline_name, trace)

    def on_start_trace(self, *_: Any) -> None: ...

    def on_start_trace_step(self, *_: Any) -> None: ...

    def on_end_trace_step(self, *_: Any) -> None: ...

    def _each(self, what: str, *facts: Any) -> None:
        for watcher in self._watchers:
            with suppress(Exception):
                getattr(watcher, what)(*facts)


class _Collector:
    """Providers of our own, not the process's global ones: an application that embeds gapless keeps its own."""

    def __init__(self, signals: list[str], say: Say) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what it would repeat is said once, by us
        self._say, self._failed, self._late = say, set[str](), False
        resource = _resource()
        readers = [PeriodicExportingMetricReader(self._noticing("metrics", OTLPMetricExporter()))]
        self.meters = MeterProvider(readers if "metrics" in signals else [], resource, shutdown_on_exit=False)
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if "traces" in signals:
            self.tracers.add_span_processor(BatchSpanProcessor(self._noticing("traces", OTLPSpanExporter())))

    def flush(self) -> None:
        """Sends what there is, or says that it could not."""
        self._late = not _within(PATIENCE, self.tracers.force_flush, self.meters.force_flush)
        failed = [signal for signal in SIGNALS if self._late or signal in self._failed]
        self._failed.clear()
        if failed:
            what = " and ".join(failed)
            self._say(f"{_collectors()} did not take all {what}; the sync is as it is without", **_WARNING)

    def close(self) -> None:
        _within(0.0 if self._late else PATIENCE, self.tracers.shutdown, self.meters.shutdown)

    def _noticing(self, signal: str, exporter: Any) -> Any:
        export = exporter.export

        def noticed(*args: Any, **kwargs: Any) -> Any:
            result = export(*args, **kwargs)
            if result.name != "SUCCESS":
                self._failed.add(signal)
            return result

        exporter.export = noticed
        return exporter


def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({"service.version": own_version(), **({} if named else {"service.name": "gapless"})})


def _collectors() -> str:
    """Hosts, without whatever else stands in the URLs."""
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", *(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT" for signal in SIGNALS))
    given = [os.environ[name] for name in names if os.environ.get(name)] or [DEFAULT_ENDPOINT]
    return ", ".join(dict.fromkeys(urlsplit(url).netloc.rpartition("@")[2] or "the collector" for url in given))


def _within(seconds: float, *tasks: Callable[[], object]) -> bool:
    """Whether all `tasks` ended in so many seconds; one that did not goes on alone and is not waited for."""
    threads = [threading.Thread(target=_quietly, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in threads)


def _quietly(task: Callable[[], object]) -> None:
    with suppress(Exception):
        task()
