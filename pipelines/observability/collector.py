"""Sends spans and metrics to the collector that OpenTelemetry's standard variables name, within a few seconds.

Imports OpenTelemetry's SDK when a `Collector` is made, and not before. Knows nothing of syncs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from gapless.pipelines.outcome import own_version
from gapless.sources._http.environment.plain_http import is_loopback, plain_http_problem

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

E = TypeVar("E")
Report = Callable[..., None]
"""Prints a message; keyword arguments are the facts of its JSON line."""

FLUSH_TIMEOUT = 3.0
"""Seconds that the collector may take at the end of a sync."""
SIGNALS = ("traces", "metrics")
OTLP = "OTEL_EXPORTER_OTLP_"
"""What the standard's variables for the exporter begin with."""
DEFAULT_ENDPOINT = "http://localhost:4318"
WARNING = {"event": "telemetry", "level": "warning"}
"""Facts of the JSON line of every report."""


class Collector:
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
        metrics, spans = OTLPMetricExporter(session=_session("metrics")), OTLPSpanExporter(session=_session("traces"))
        readers = [PeriodicExportingMetricReader(self._watch_export("metrics", metrics))]
        # Both exist in any case, so that no caller asks; one without an exporter sends nothing.
        self.meters = MeterProvider(readers if "metrics" in signals else [], resource, shutdown_on_exit=False)
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if "traces" in signals:
            self.tracers.add_span_processor(BatchSpanProcessor(self._watch_export("traces", spans)))

    def flush(self) -> None:
        """Sends what was recorded, and reports what could not be sent."""
        self._late = not _within(FLUSH_TIMEOUT, self.tracers.force_flush, self.meters.force_flush)
        failed = [signal for signal in SIGNALS if self._late or signal in self._failed]
        self._failed.clear()  # each sync reports its own losses
        if failed:
            signals = " and ".join(failed)
            self._report(f"{_collectors()} did not accept all {signals}; the sync is not affected", **WARNING)

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


def insecure(signal: str) -> str | None:
    """Returns why a signal must not be sent: a key goes with it, to another machine and without encryption."""
    url = urlsplit(_endpoint(signal))
    keys = [
        name for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS", f"{OTLP}HEADERS") if os.environ.get(name)
    ]
    if not keys and url.password is None:
        return None
    problem = plain_http_problem(url.scheme, url.hostname or "")
    return problem and f"OpenTelemetry's endpoint for {signal} {problem}; no {signal} are sent"


def _endpoint(signal: str) -> str:
    """Returns the URL of the collector of a signal, as the standard's variables say it."""
    return os.environ.get(f"{OTLP}{signal.upper()}_ENDPOINT") or os.environ.get(f"{OTLP}ENDPOINT") or DEFAULT_ENDPOINT


def _session(signal: str) -> Any:
    """Returns what the exporter sends by; to this machine itself not through a proxy. None: the exporter's own."""
    if not is_loopback(urlsplit(_endpoint(signal)).hostname or ""):
        return None
    made = import_module("requests").Session()
    made.trust_env = False
    return made


def _collectors() -> str:
    """Returns the collectors' hosts; the rest of their URLs may hold a key."""
    names = (f"{OTLP}ENDPOINT", *(f"{OTLP}{signal.upper()}_ENDPOINT" for signal in SIGNALS))
    given = [os.environ[name] for name in names if os.environ.get(name)] or [DEFAULT_ENDPOINT]
    return ", ".join(dict.fromkeys(urlsplit(url).netloc.rpartition("@")[2] or "the collector" for url in given))


def _within(seconds: float, *tasks: Callable[[], object]) -> bool:
    """Returns whether all `tasks` ended in time; those past the timeout keep running in the background."""
    threads = [threading.Thread(target=_quietly, args=(task,), daemon=True) for task in tasks]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:  # this process may start no more
        return False
    for thread in threads:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in threads)


def _quietly(task: Callable[[], object]) -> None:
    """Runs a task in a thread, where an error would be printed and could not be handled."""
    with suppress(Exception):
        task()
