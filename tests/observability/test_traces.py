"""OpenTelemetry: what a collector gets of real syncs and what it must never get; no sync depends on it."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.observability.traces import template
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from gapless.sources.kizen.fake import KizenFake
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from gapless.sources.tines.fake import TinesFake
from tests.support import warm
from tests.support.world import World, some

ROOT = Path(__file__).resolve().parents[2]
ERROR = 2
KEY = "canary-key-0123456789"
Begin = Callable[[Any], World]


def value(found: Any) -> Any:
    """Of an attribute or a data point, whichever of its fields is set."""
    kind = found.WhichOneof("value")
    got = getattr(found, kind)
    return [value(one) for one in got.values] if kind == "array_value" else got


def labels(found: Any) -> dict[str, Any]:
    return {pair.key: value(pair.value) for pair in found.attributes}


@dataclass
class Span:
    name: str
    parent: str
    error: bool
    facts: dict[str, Any]
    began: int
    ended: int


@dataclass
class Collector:
    """Takes OTLP over HTTP on loopback, as long as it may."""

    status: int = 200
    raw: list[bytes] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    _spans: dict[bytes, Any] = field(default_factory=dict)
    points: dict[tuple[str, frozenset[Any]], Any] = field(default_factory=dict)

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.status == 200:
            self.raw.append(request.content)
            take = {"/v1/traces": self._take_spans, "/v1/metrics": self._take_metrics}
            take[request.url.path](request.content)
        return httpx.Response(self.status, content=b"")

    def _take_spans(self, content: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(content).resource_spans:
            self.resource = labels(group.resource)
            self._spans |= {span.span_id: span for scope in group.scope_spans for span in scope.spans}

    def _take_metrics(self, content: bytes) -> None:
        for group in ExportMetricsServiceRequest.FromString(content).resource_metrics:
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                data = getattr(metric, metric.WhichOneof("data"))
                for point in data.data_points:
                    number = point.sum if hasattr(point, "bucket_counts") else value(point)
                    self.points[metric.name, frozenset(labels(point).items())] = number

    @property
    def spans(self) -> list[Span]:
        """In the order they began; a parent by its name."""
        whole = sorted(self._spans.values(), key=lambda span: span.start_time_unix_nano)
        return [
            Span(
                span.name,
                self._spans[span.parent_span_id].name if span.parent_span_id else "",
                span.status.code == ERROR,
                labels(span),
                span.start_time_unix_nano,
                span.end_time_unix_nano,
            )
            for span in whole
        ]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def metric(self, name: str, **wanted: Any) -> Any:
        """The sum of the points that have these labels."""
        own = {"http.response.status_code" if key == "status" else key: one for key, one in wanted.items()}.items()
        return sum(number for (metric, had), number in self.points.items() if metric == name and own <= set(had))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    made = Collector()
    with serve(made.handle) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        yield made


SHORT = 8
"""Characters; a word such as "SUCCESS" may stand anywhere."""


def texts(span: Span) -> list[str]:
    return [span.name, *(text for text in span.facts.values() if isinstance(text, str))]


@contextmanager
def process(*args: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gapless.pipelines", *args]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with warm.Popen(command, env={**os.environ, **environment}, **pipes) as running:
        try:
            yield running
        finally:
            running.kill()


def gapless(*args: str) -> tuple[int, str, str]:
    """In this process."""
    done = CliRunner().invoke(app, list(args))
    return done.exit_code, done.stdout, done.stderr


def apart(*args: str, **environment: str) -> tuple[int, str, str]:
    """As a process of its own."""
    with process(*args, **environment) as running:
        out, err = running.communicate(timeout=60)
        return running.returncode, out, err


def test_spans_of_a_sync(world: Begin, collector: Collector) -> None:
    """A round holds its sources, a source its load packages and its requests, and each tells how it went."""
    here = world(TinesFake.demo())
    code, _, err = gapless("sync", "tines")
    assert (code, "collector" in err) == (0, False), err
    (root,), (source,), (package, *_) = (collector.named(n) for n in ("sync", "sync tines", "load package"))
    assert (root.parent, source.parent, package.parent) == ("", "sync", "sync tines")
    assert root.facts == {"gapless.sources": ["tines"], "gapless.destination": "duckdb", "gapless.exit_code": 0}
    assert (source.facts["gapless.outcome"], source.facts["gapless.run_id"]) == here.sql(
        "select outcome, run_id from runs"
    )[0]
    assert package.facts["gapless.rows.action_logs"] == here.sql("select count(*) from action_logs")[0][0]
    assert {s.name for s in collector.spans if s.parent == "load package"} == {"extract", "normalize", "load"}
    asked = [span for span in collector.spans if span.facts.get("http.request.method")]
    assert len(asked) == len(here.fake.requests) == source.facts["gapless.requests"]
    assert {span.parent for span in asked} == {"sync tines"}
    assert {span.name for span in asked} == {
        "GET /api/v1/actions",
        "GET /api/v1/stories",
        "GET /api/v1/actions/{id}/logs",
    }
    assert {(s.facts["http.response.status_code"], s.facts["server.address"]) for s in asked} == {(200, "127.0.0.1")}
    assert not any(span.error for span in collector.spans)
    assert all(root.began <= span.began <= span.ended <= root.ended for span in collector.spans)
    assert collector.resource["service.name"] == "gapless"


@pytest.mark.slow
def test_metrics_of_a_sync(world: Begin, collector: Collector) -> None:
    """Requests, retries, waits, rows by table, duration, outcome and freshness, by source."""
    here = world(TinesFake.demo())
    busy = iter([503, 429])

    def intercept(request: httpx.Request) -> httpx.Response | None:
        status = next(busy, None)
        return httpx.Response(status, headers={"Retry-After": "0.01"}) if status else None

    here.set(GAPLESS_RETRY_BUDGET="20").intercept = intercept
    code, out, err = gapless("sync", "tines", "--json")
    assert code == 0, err
    (source,) = json.loads(out)["sources"]
    own = {"source": "tines"}
    assert collector.metric("gapless.requests", **own) == source["requests"]
    assert collector.metric("gapless.requests", status=503) == 1
    assert collector.metric("gapless.retries", **own) == source["retries"] == 2
    assert collector.metric("gapless.waited", **own) == pytest.approx(source["seconds_waited"])
    logs = here.sql("select count(*) from action_logs")[0][0]
    assert collector.metric("gapless.rows", table="action_logs", **own) == logs
    assert collector.metric("gapless.syncs", outcome="complete", **own) == 1
    assert collector.metric("gapless.sync.duration", outcome="complete", **own) > 0
    ((newest,),) = here.sql("select epoch(now()) - epoch(max(created_at)) from action_logs")
    assert collector.metric("gapless.freshness", **own) == pytest.approx(newest, abs=120)
    assert 0 <= collector.metric("gapless.checked", **own) < 120
    sent = [span.facts for span in collector.spans if "http.request.method" in span.facts]
    assert [facts["http.response.status_code"] for facts in sent[:3]] == [503, 429, 200]
    assert [facts.get("http.request.resend_count") for facts in sent[:3]] == [None, 1, 2]
    assert [span.error for span in collector.spans if span.facts in sent[:3]] == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("kind", some([OmniFake, SequenceFake, KizenFake, TinesFake], OmniFake))
def test_nothing_private_reaches_the_collector(kind: Any, world: Begin, collector: Collector) -> None:
    """No key, no query and no text or id of a record, also of a vendor that repeats what it was sent."""
    here = world(kind.demo())
    assert gapless("sync", here.name)[0] == 0
    keys = [need.upper() for need in SOURCES[here.name].needs if need.endswith(("_key", "_secret"))]
    here.set(**dict.fromkeys(keys, KEY))
    here.intercept = lambda request: httpx.Response(403, json={"error": {"message": f"{KEY} {request.url}"}})
    assert gapless("sync", here.name)[0] in (1, 3)
    sent = b"".join(collector.raw)
    assert KEY.encode() not in sent
    assert not [span for span in collector.spans if any("?" in text for text in texts(span))]
    main = SOURCES[here.name].main.name
    kept = [text for row in here.sql(f"select * from {main}") for text in row if isinstance(text, str)]
    assert kept
    assert [text for text in kept if len(text) > SHORT and text.encode() in sent] == []


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/api/v1/actions/17/logs", "/api/v1/actions/{id}/logs"),
        ("/api/v1/leads/a%40b.example/action-logs", "/api/v1/leads/{id}/action-logs"),
        ("/activity-logs/0f1c6f0e-5d0b-4f7a-9d8e-2b8f6f3f5a10", "/activity-logs/{id}"),
        ("/activities/Some_Id/responses", "/activities/{id}/responses"),
        ("/api/v1/leads/jane-doe/action-logs", "/api/v1/leads/{id}/action-logs"),
        ("/", "/"),
    ],
)
def test_template(path: str, made: str) -> None:
    """Whatever is not a word of the vendor's is an id."""
    words = [word for source in SOURCES.values() for word in source.facts.path_words]
    assert template(path, words) == made


@pytest.mark.parametrize("name", SOURCES)
def test_every_word_of_the_paths_is_known(name: str) -> None:
    """A path that a source asks for is not taken for ids."""
    texts = re.findall(r'"((?:[a-z0-9-]+/)*[a-z0-9{}()_-]+)(?:\?[^"]*)?"', inspect.getsource(SOURCES[name].api))
    paths = [text for text in texts if "/" in text or text in ("activities", "activity-logs", "actions")]
    words = {word for path in paths for word in path.split("/") if "{" not in word and "(" not in word}
    assert words
    assert words <= set(SOURCES[name].facts.path_words)


def test_a_failed_sync_has_error_status(world: Begin, collector: Collector) -> None:
    """The source and the round that failed are errors, with the error's class and not its text."""
    here = world(TinesFake.demo())
    here.fake.failing["/api/v1"] = 401
    assert gapless("sync", "tines")[0] == 1
    (root,), (source,) = collector.named("sync"), collector.named("sync tines")
    assert (root.error, root.facts["gapless.exit_code"]) == (True, 1)
    assert (source.error, source.facts["error.type"], source.facts["gapless.outcome"]) == (
        True,
        "Unauthorized",
        "failed",
    )
    assert collector.named("load package")[0].error
    assert collector.metric("gapless.syncs", source="tines", outcome="failed") == 1


@pytest.mark.sweep
def test_an_interrupted_sync_has_error_status(world: Begin, collector: Collector) -> None:
    """Ctrl-C ends the spans that are open, as errors, and they are sent."""
    here = world(TinesFake.demo()).set(GAPLESS_RETRY_BUDGET="600")
    refused = threading.Event()

    def intercept(request: httpx.Request) -> httpx.Response | None:
        if "logs" not in request.url.path:
            return None
        refused.set()
        return httpx.Response(429, headers={"Retry-After": "60"})

    here.intercept = intercept
    with process("sync", "tines") as running:
        assert refused.wait(20)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert running.returncode == 130
    for name in ("sync", "sync tines"):
        (span,) = collector.named(name)
        assert (span.error, span.facts["error.type"]) == (True, "KeyboardInterrupt")


@pytest.mark.sweep
def test_a_round_of_spans_each(world: Begin, collector: Collector) -> None:
    """With --every each round is a trace of its own, sent when it ends."""
    world(TinesFake.demo())
    with process("sync", "tines", "--every", "1s", "--json") as running:
        assert running.stdout
        for _ in range(3):
            assert running.stdout.readline()
        assert len(collector.named("sync")) >= 2  # of the third only the outcome is known to be out
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert collector.metric("gapless.syncs", source="tines") >= 3


@contextmanager
def hanging() -> Iterator[str]:
    """A collector that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def absent() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://user:{KEY}@127.0.0.1:{reserved.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    with serve(lambda request: httpx.Response(400)) as url:
        yield url


@pytest.mark.parametrize("broken", some([hanging, absent, refusing], absent))
def test_a_broken_collector_changes_nothing(broken: Any, world: Begin) -> None:
    """The sync is complete and its end the same; one line says that the collector did not take all."""
    here = world(TinesFake.demo())
    with broken() as url:
        # Ten minutes an export may take, one the whole process: who waits for the exporter does not pass.
        code, _, err = apart("sync", "tines", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="600")
    (said,) = [line for line in err.splitlines() if "did not accept" in line]
    assert (code, "traces and metrics" in said, "127.0.0.1:" in said, KEY in err) == (0, True, True, False)
    assert "Traceback" not in err
    here.assert_exact()


@pytest.mark.sweep
def test_one_signal_alone(world: Begin, collector: Collector) -> None:
    """OTEL_METRICS_EXPORTER=none leaves the traces; OTEL_SDK_DISABLED leaves nothing."""
    here = world(TinesFake.demo())
    here.set(OTEL_SDK_DISABLED="true")
    assert gapless("sync", "tines")[0] == 0
    assert collector.raw == []
    here.set(OTEL_SDK_DISABLED="false", OTEL_METRICS_EXPORTER="none")
    assert gapless("sync", "tines")[0] == 0
    assert (collector.points, len(collector.named("sync"))) == ({}, 1)


@pytest.mark.parametrize(
    ("name", "setting", "told"),
    [
        ("OTEL_TRACES_EXPORTER", "console", "OTEL_TRACES_EXPORTER=console: gapless supports otlp and none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTLP protocol grpc: gapless supports http/protobuf"),
    ],
)
def test_what_is_not_known_is_said(name: str, setting: str, told: str, world: Begin, collector: Collector) -> None:
    """A setting of OpenTelemetry that gapless cannot follow is a line, and no reason not to sync."""
    world(TinesFake.demo()).set(**{name: setting})
    code, _, err = gapless("sync", "tines")
    assert (code, told in err, collector.named("sync")) == (0, True, [])


def test_without_the_extra(world: Begin, collector: Collector, tmp_path: Path) -> None:
    """An endpoint without the packages: one line says what to install, and the sync goes on."""
    world(TinesFake.demo())
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('not installed')")
    code, _, err = apart("sync", "tines", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (code, err.count("pip install -e '.[otel]'"), collector.raw) == (0, 1, [])


@pytest.mark.sweep
def test_without_its_variables_nothing_is_imported(world: Begin) -> None:
    """A sync that nobody watches imports no module of OpenTelemetry, and none of ours that needs it."""
    world(TinesFake.demo())
    script = "import sys; from gapless.pipelines.cli.app import app; sys.argv = ['gapless', 'sync', 'tines']\n"
    script += "try: app()\nfinally: print(*sorted(sys.modules), sep='\\n')"
    quiet = {name: set_to for name, set_to in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**quiet, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    modules = done.stdout.splitlines()
    assert "gapless.pipelines.observability.telemetry" in modules
    heavy = (
        "opentelemetry",
        "google.protobuf",
        "gapless.pipelines.observability.traces",
        "gapless.pipelines.observability.metrics",
    )
    assert [name for name in modules if name.startswith(heavy)] == []
