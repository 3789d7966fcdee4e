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
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from gapless.pipelines.outcome import own_version

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

E = TypeVar("E")
Report = Callable[..., None]
"""Prints a message; keyword arguments are the facts of its JSON line."""

FLUSH_TIMEOUT = 3.0
"""Seconds that the collector may take at the end of a sync."""
SIGNALS = ("traces", "metrics")
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
