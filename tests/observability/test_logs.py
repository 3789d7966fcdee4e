"""`--log-format json`: each line of stderr is one JSON object with its facts, whoever wrote it. stdout stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from gapless.pipelines import json_logs, redaction
from gapless.pipelines.cli import progress
from gapless.pipelines.cli.output import err
from gapless.pipelines.outcome import Outcome
from gapless.sources._http.client import Client
from gapless.sources._ledger.session import Session
from gapless.sources.omni.fake import OmniFake
from gapless.sources.tines.fake import TinesFake
from tests.support import warm
from tests.support.world import World

COUNTS = "select (select count(*) from leads), (select count(*) from action_logs)"
ROOT = Path(__file__).resolve().parents[2]
KEY = 'canary-"key-0123456789'


def small() -> OmniFake:
    fake = OmniFake()
    fake.seed(3, logs=3)
    return fake


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return warm.run([sys.executable, *arguments], env={**os.environ, **environment})


def gapless(*arguments: str, **environment: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, stdout and the events on stderr, every line of which must be one."""
    done = python("-m", "gapless.pipelines", *arguments, **environment)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    for event in events:
        assert datetime.fromisoformat(event["time"]).utcoffset() == timedelta(0)
        assert event["level"] in ("info", "warning", "error")
        assert {"event", "message"} <= event.keys()
    return done.returncode, done.stdout, events


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


@pytest.fixture
def in_json(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """JSON lines in this process; call it for those that were written so far."""
    stream = StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    json_logs.switch(True)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    json_logs.switch(False)


def test_a_sync_in_json_lines(world: Callable[[Any], World]) -> None:
    """A complete sync tells its start and its end with all numbers; stdout is what it always is."""
    here = world(small())
    code, out, events = gapless("sync", "omni", "--json", "--log-format", "json")
    (document,) = map(json.loads, out.splitlines())
    assert (code, document["exit_code"]) == (0, 0)
    (source,) = document["sources"]
    (started,), (finished,), (ended,) = (of(events, kind) for kind in ("started", "finished", "ended"))
    assert started["source"] == finished["source"] == "omni"
    told = {name: finished[name] for name in ("run_id", "outcome", "requests", "retries", "packages")}
    assert told == {name: source[name] for name in told}
    assert (finished["pages"] > 0, finished["records"], finished["waited"]) == (True, 3, 0.0)
    assert finished["rows"] == sum(finished["rows_by_table"].values())
    assert [(finished["rows_by_table"]["leads"], finished["rows_by_table"]["action_logs"])] == here.sql(COUNTS)
    assert (ended["exit_code"], ended["level"]) == (0, "info")
    here.assert_exact()


def test_a_partial_sync_in_json_lines(world: Callable[[Any], World]) -> None:
    """Each reason is a line with its source, and the last one holds the exit code."""
    here = world(small())
    here.fake.failing["/action-logs"] = 403
    code, _, events = gapless("--log-format=json", "sync", "omni")
    assert code == 3
    (reason, *_) = of(events, "failure")
    assert reason["message"].startswith(f"omni: {of(events, 'finished')[0]['failures']} of 3 leads answered 403: ")
    assert {event["source"] for event in of(events, "failure")} == {"omni"}
    facts = ("kind", "status", "count", "of", "times", "fill")
    assert [reason[name] for name in facts] == ["failing", 403, 3, 3, 1, "gapless sync omni"]
    assert (events[-1]["event"], events[-1]["exit_code"], events[-1]["level"]) == ("ended", 3, "warning")


def test_a_failed_sync_in_json_lines(world: Callable[[Any], World]) -> None:
    """A failed source is an error with its class, and no key that the vendor repeats is shown."""
    here = world(TinesFake.demo()).set(TINES_API_KEY=KEY, GAPLESS_LOG_FORMAT="json")
    here.intercept = lambda request: httpx.Response(401, json={"error": {"message": f"what is {KEY}?"}})
    code, _, events = gapless("sync", "tines")
    (finished,) = of(events, "finished")
    assert (code, finished["level"], finished["error_kind"]) == (1, "error", "Unauthorized")
    assert "canary" not in json.dumps(events)


@pytest.mark.parametrize(
    "args", [["sync", "nobody"], ["sync", "--nonsense"], ["--nonsense"], ["nonsense"], ["state", "rewind"], ["state"]]
)
def test_wrong_usage_in_json_lines(args: list[str]) -> None:
    """Wrong usage is one line too, wherever it is found, and still ends with 2."""
    for given in (["--log-format", "json", *args], [*args, "--log-format=json"]):
        code, _, events = gapless(*given)
        assert (code, len(events)) == (2, 1)
        assert (events[0]["event"], events[0]["level"], events[0]["exit_code"]) == ("error", "error", 2)


@pytest.mark.parametrize("given", [["--log-format", "xml"], ["--log-format"]])
def test_no_such_format(given: list[str]) -> None:
    """Another format, or none, is wrong usage."""
    done = python("-m", "gapless.pipelines", "sync", *given)
    assert (done.returncode, "--log-format" in done.stderr) == (2, True)


def test_the_option_wins_over_the_environment() -> None:
    """`--log-format text` on a machine whose environment asks for JSON."""
    done = python("-m", "gapless.pipelines", "sync", "nobody", "--log-format", "text", GAPLESS_LOG_FORMAT="json")
    assert " there is no source 'nobody'" in done.stderr


def test_a_question_is_not_asked_in_json_lines(world: Callable[[Any], World]) -> None:
    """A prompt is no JSON: who may not be asked is told of --yes."""
    world(small())
    code, _, events = gapless("state", "reset", "omni", "--log-format", "json")
    assert (code, len(events)) == (2, 1)
    assert "--yes" in events[0]["message"]


def test_an_unexpected_error_in_json_lines(world: Callable[[Any], World]) -> None:
    """Its traceback is a fact of the one line, with every key blanked."""
    world(small()).set(OMNI_API_KEY=KEY)
    script = f"import sys, gapless.pipelines.sync.run\ndef broken(*a): raise RuntimeError('lost ' + {KEY!r})\n"
    script += "gapless.pipelines.sync.run.sync = broken\nfrom gapless.pipelines.cli.app import app\n"
    script += "sys.argv = 'gapless sync omni --debug --log-format json'.split()\napp()"
    done = python("-c", script)
    _, event = map(json.loads, done.stderr.splitlines())  # after the host of the key
    assert (done.returncode, event["exit_code"]) == (1, 1)
    assert "RuntimeError: lost ***" in event["message"]
    assert "Traceback" in event["traceback"]
    assert "canary" not in done.stderr


def test_whatever_is_written_to_stderr_is_a_line_of_json() -> None:
    """Warnings, logs, tracebacks of threads, prints and the end by an error: each line parses, in any locale."""
    script = r"""
import logging, sys, threading, warnings
from gapless.pipelines import json_logs, redaction
redaction._known.add("canary-key")
early = logging.StreamHandler(sys.stderr)
logging.getLogger().addHandler(early)
json_logs.switch(True)
redaction.guard_logs()
json_logs.guard()
warnings.warn("old canary-key", DeprecationWarning, stacklevel=1)
warnings.warn("old canary-key", UserWarning, stacklevel=1)
logging.getLogger("some.library").warning("%s \u00e9 \u4e2d \U0001f600\nsecond", "canary-key")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("some.library").exception("broke")
logging.getLogger("some.library").warning("%d", "no number")
print("plain\ntwo \U0001f600 canary-key", file=sys.stderr, end="")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
class Dying:
    def __del__(self): raise ValueError("canary-key")
Dying()
raise RuntimeError("the end canary-key")
"""
    for locale in ("C.UTF-8", "C"):
        # A process of its own: the locale is read when Python starts.
        c_locale = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **c_locale},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        events = [json.loads(line) for line in done.stderr.splitlines()]
        assert "canary" not in done.stderr
        assert {"warning", "log", "stderr", "error"} == {event["event"] for event in events}
        assert [event["message"] for event in of(events, "log")] == ["*** é 中 😀\nsecond", "broke"]
        assert of(events, "log")[0]["logger"] == "some.library"
        assert [e["message"] for e in of(events, "stderr")][-2:] == ["plain", "two 😀 ***"]
        ends = [event["message"] for event in of(events, "error")]
        assert ends == ["ZeroDivisionError: division by zero", "ValueError: ***", "RuntimeError: the end ***"]


def test_progress_as_events(in_json: Callable[[], list[dict[str, Any]]]) -> None:
    """While a source is read a line now and then tells its numbers; a terminal makes no difference."""
    session = Session(client=Client("http://127.0.0.1:9"))
    session.counters.pages, session.counters.records, session.counters.parents = 12, 1200, 3
    assert session.client
    session.client.stats.add(requests=14, retries=2, waited=1.5)
    found: list[dict[str, Any]] = []
    with progress.displayed(err(), every=0.02) as display:
        display.start("omni", session)
        while not of(found, "progress"):
            found = in_json()
        display.end(Outcome("omni", started_at=datetime.now(), outcome="partial", requests=14))
    session.client.close()
    event = of(found, "progress")[0]
    facts = ("source", "pages", "records", "parents", "requests", "retries", "waited")
    assert [event[fact] for fact in facts] == ["omni", 12, 1200, 3, 14, 2, 1.5]
    (finished,) = of(in_json(), "finished")
    assert (finished["outcome"], finished["level"], finished["pages"]) == ("partial", "warning", 12)


def test_a_key_that_is_a_number_breaks_no_line(
    in_json: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that holds it is blanked, a number that looks like it stays one."""
    monkeypatch.setattr(redaction, "_known", {"1204", 'a"b\\c'})
    json_logs.emit('1204 rows, a"b\\c', rows=1204, by_table={"logs": 12041})
    (event,) = in_json()
    assert (event["message"], event["rows"], event["by_table"]) == ("*** rows, ***", 1204, {"logs": 12041})


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("GAPLESS_HASH_KEY", "canary-hash", ["canary-hash"]),
        ("GAPLESS_WEBHOOK_URL", "https://h.test/services/T0/canary-0123456789", ["canary-0123456789"]),
        ("GAPLESS_WEBHOOK_URL", "https://h.test/x?sig=canary-0123456789", ["/x?sig=canary-0123456789"]),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary-1,x=canary%202", ["canary-1", "canary 2"]),
    ],
)
def test_more_secrets(name: str, value: str, hidden: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of gapless's own settings and OpenTelemetry's are known too, also in parts; words of a URL are none."""
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setenv(name, value)
    redaction.register_secrets()
    assert "canary" not in redaction.redact(" ".join([value, *hidden]))
    assert redaction.redact("services of api-key") == "services of api-key"
