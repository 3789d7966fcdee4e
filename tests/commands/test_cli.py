"""The command line as a person, a scheduler or a script meets it: what it says, where, and with which exit code."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import httpx2 as httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from gapless.pipelines import redaction
from gapless.pipelines.cli import output, progress
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, Locked, WrongSettings
from gapless.pipelines.outcome import Outcome
from gapless.pipelines.sync import loop
from gapless.sources import OURS, SOURCES
from gapless.sources._http.client import Client
from gapless.sources._ledger.session import Session
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from gapless.sources.tines.fake import TinesFake
from tests.support import warm

ROOT = Path(__file__).parents[2]
KEYS = {need.upper() for source in SOURCES.values() for need in source.needs}


def gapless(*args: str, **kwargs: Any) -> Result:
    return CliRunner().invoke(app, list(args), **kwargs)


@contextmanager
def process(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A real `gapless` with the environment of the test."""
    command = [sys.executable, "-m", "gapless.pipelines", *args]
    with warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def run(*args: str) -> tuple[int, str, str]:
    with process(*args) as running:
        out, err = running.communicate(timeout=60)
        return running.returncode, out, err


@pytest.fixture
def only(world: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """`only(fake)`: that vendor's credentials are set, and no other's."""

    def begin(fake: Any) -> Any:
        here = world(fake)
        for key in KEYS:
            if not key.startswith(here.name.upper()):
                monkeypatch.delenv(key, raising=False)
        return here

    return begin


def small() -> OmniFake:
    fake = OmniFake()
    fake.seed(2, logs=3)
    return fake


# -- help and wrong usage --------------------------------------------------------------------------


def test_help_is_instant() -> None:
    """The command line itself imports nothing that takes long."""
    heavy = "{'dlt', 'duckdb', 'pyarrow', 'httpx2', 'pydantic', 'msgspec'}"
    script = f"import sys, gapless.pipelines.cli.app\nfound = {heavy} & set(sys.modules)\n"
    script += "sys.exit(str(found) if found else 0)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


NOT_USED = (
    *(f"gapless.sources.{name}.api" for name in OURS if name != "omni"),
    "requests", "urllib3", "pyarrow.compute", "pyarrow.parquet", "opentelemetry", "psycopg2", "sqlalchemy",
    "gapless.pipelines.views.dialect", "gapless.sources._incremental.detail_feed", "rich.progress",
    "gapless.sources._extract.account_proof", "gapless.pipelines.erasure.forget", "gapless.pipelines.erasure.keep",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.described
def test_an_idle_sync_imports_what_it_uses(only: Callable[[Any], Any]) -> None:
    """Neither other sources, nor what dlt loads for work that is not done, nor what only new rows need."""
    here = only(small())
    here.complete()
    script = "import sys\nfrom gapless.pipelines.cli.app import main\nsys.argv = ['gapless', 'sync', 'omni']\n"
    script += "try: main()\nfinally: print(*sorted(sys.modules), sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], cwd=here.folder, capture_output=True, text=True, check=True)
    modules = done.stderr.splitlines()
    assert {"gapless.sources.omni.api", "dlt", "duckdb"} <= set(modules)
    assert [name for name in modules if name in NOT_USED] == []


def test_no_command_shows_help() -> None:
    """`gapless` alone is a question, not an error."""
    result = gapless()
    assert result.exit_code == 0
    assert all(command in result.stdout for command in ("sync", "status", "doctor", "state", "demo"))


def test_version() -> None:
    """`--version` names the program."""
    result = gapless("--version")
    assert (result.exit_code, result.stdout.split()[0].strip(",")) == (0, "gapless")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (
            ["sequenec"],
            "there is no source 'sequenec'; there are omni, sequence, kizen, tines. Did you mean sequence?",
        ),
        (["omni", "--since", "2026-02-01", "--until", "2026-01-01"], "--since 2026-02-01 is not before --until"),
        (["omni", "--since", "yesterday"], "--since: 'yesterday' is not an ISO 8601 time"),
        (["--id", "1"], "--id needs the one source it belongs to"),
        (["omni", "kizen", "--id", "1"], "--id needs the one source it belongs to"),
        (["tines", "--id", "1"], "--id does not work for tines: Tines has no endpoint for one log"),
        (["omni", "--id", "1", "--since", "2026-01-01"], "leave out --since and --until"),
        (["omni", "--every", "often"], "--every often: expected an interval such as 30s, 15m or 2h"),
        (["omni", "--every", "0m"], "--every 0m: expected an interval"),
        (["omni", "--destination", "nowhere"], "there is no destination 'nowhere'"),
    ],
)
def test_wrong_usage(args: list[str], told: str, only: Callable[[Any], Any]) -> None:
    """Wrong usage ends with 2 before any request and says what was expected."""
    here = only(small())
    result = gapless("sync", *args)
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""
    assert here.fake.requests == []


@pytest.mark.parametrize("command", [["sync"], ["status"], ["copy", "--to"]])
def test_a_destination_without_its_extra(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What installs it is said."""
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me:secret@localhost/logs")
    option = [*command, "postgres"] if command[-1] == "--to" else [*command, "--destination", "postgres"]
    result = gapless(*option)
    assert (result.exit_code, "pip install -e '.[postgres]'" in result.stderr) == (2, True), result.output


def test_a_destination_that_can_only_append(
    only: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before any request: a record that changes would stand there twice."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", f"file://{tmp_path}/out")
    here = only(small())
    result = gapless("sync", "omni", "--destination", "filesystem")
    assert result.exit_code == 2
    assert "--accept-append takes that" in " ".join(result.stderr.split())
    assert here.fake.requests == []


def test_nothing_configured() -> None:
    """A newcomer without keys learns how to start: the demo, the doctor, the variables."""
    result = gapless("sync")
    assert result.exit_code == 2
    assert all(word in result.stderr for word in ("gapless demo", "gapless doctor", *KEYS))


def test_a_named_source_without_credentials() -> None:
    """A source asked for by name says which variables it lacks."""
    result = gapless("sync", "kizen")
    assert result.exit_code == 2
    assert "KIZEN_API_KEY, KIZEN_BUSINESS_ID, KIZEN_USER_ID not set" in result.stderr


def test_settings_file_that_is_no_toml(tmp_path: Path) -> None:
    """A broken secrets.toml is wrong configuration, told in one line."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text("[sources.omni\n")
    code, out, err = run("sync")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "secrets.toml, line 1: " in err


# -- what a sync says ------------------------------------------------------------------------------


def test_sync_takes_the_sources_with_credentials(only: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without names all that have credentials are synced; who is left out, and for which setting, is said."""
    here = only(small())
    monkeypatch.delenv("TINES_API_KEY", raising=False)
    monkeypatch.setenv("TINES_BASE_URL", "")
    result = gapless("sync")
    assert result.exit_code == 0, result.stderr
    assert "sequence: skipped, SEQUENCE_CLIENT_ID, SEQUENCE_CLIENT_SECRET not set" in result.stderr
    assert "tines: skipped, TINES_API_KEY, TINES_BASE_URL not set" in result.stderr
    header, row = (line.split() for line in result.stdout.splitlines())
    assert header[:2] == ["source", "outcome"]
    assert row[:2] == ["omni", "complete"]
    here.assert_exact()


def test_json_is_all_of_stdout(only: Callable[[Any], Any]) -> None:
    """With --json stdout is one JSON document and nothing else; what happens meanwhile stands on stderr."""
    only(small())
    code, out, err = run("sync", "--json")
    (document,) = map(json.loads, out.splitlines())
    assert (code, document["exit_code"]) == (0, 0)
    ((source, outcome, rows),) = [(s["source"], s["outcome"], s["rows"]) for s in document["sources"]]
    assert (source, outcome, rows["action_logs"]) == ("omni", "complete", 3)
    assert "omni: started" in err


def test_json_of_an_error() -> None:
    """A script that asked for JSON gets the error as JSON too, wrong usage included."""
    for args in (["sync", "nobody", "--json"], ["sync", "--nonsense", "--json"]):
        result = gapless(*args)
        document = json.loads(result.stdout)
        assert (result.exit_code, document["exit_code"]) == (2, 2)
        assert document["error"] in " ".join(result.stderr.split())


@pytest.mark.sweep
def test_one_source_fails(only: Callable[[Any], Any], world: Callable[[Any], Any]) -> None:
    """A source that failed as a whole is exit code 1, whatever others did: a revoked key is no warning."""
    only(small())
    tines = world(TinesFake.demo())
    tines.fake.failing["/api/v1"] = 401
    both = gapless("sync", "omni", "tines", "--json")
    assert both.exit_code == 1
    assert [source["outcome"] for source in json.loads(both.stdout)["sources"]] == ["complete", "failed"]
    alone = gapless("sync", "tines")
    assert alone.exit_code == 1
    assert "tines failed: GET /api/v1/actions answered 401" in alone.stderr
    assert "gapless doctor" in alone.stderr


@pytest.mark.slow
def test_reasons_of_a_partial_sync(only: Callable[[Any], Any]) -> None:
    """Many failures of one reason are one line, with how many there are, and some of them by their ids."""
    fake = OmniFake()
    fake.seed(13, logs=0)
    only(fake)
    fake.failing["/action-logs"] = 403
    result = gapless("sync")
    assert result.exit_code == 3
    (line,) = [line for line in result.stderr.splitlines() if "answered 403" in line]
    assert "Z omni: 13 of 13 leads answered 403: this key may not read it" in line
    assert "(for the first time, at " in line
    assert (
        "none of their action logs are proven to be here yet and are tried first next time;"
        " `gapless gaps omni` lists them" in line
    )
    table = gapless("gaps", "omni").stdout
    assert table.count("answered 403") == 1
    assert "13 of 13 leads (" in " ".join(table.split())
    assert "--id" not in table
    assert len(json.loads(gapless("gaps", "omni", "--json").stdout)["gaps"]) == 13
    assert "The next gapless sync retries first what failed" in result.stderr


@pytest.mark.slow
def test_strict(only: Callable[[Any], Any]) -> None:
    """For a scheduler that knows only success and failure: 1 in place of 3, and 0 where all is complete."""
    here = only(small())
    here.fake.failing[f"/{here.fake.truth()['leads'][0]['leadId']}/"] = 403
    assert [gapless("sync", *strict).exit_code for strict in ([], ["--strict"])] == [3, 1]
    here.mend()
    assert gapless("sync", "--strict").exit_code == 0


@pytest.mark.slow
def test_lines_carry_the_time(only: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file that a scheduler appends to; on a terminal nobody needs it."""
    only(small())
    result = gapless("sync", "omni")
    assert result.stderr
    for line in result.stderr.splitlines():
        assert datetime.fromisoformat(line.split(" ", 1)[0]).utcoffset() == timedelta(0), line
    assert output.stamped("one").endswith("Z one")
    monkeypatch.setattr("sys.stderr", type("Terminal", (StringIO,), {"isatty": lambda self: True})())
    assert output.stamped("one") == "one"


def test_single_records(only: Callable[[Any], Any]) -> None:
    """--id asks for those records and for nothing else."""
    fake = SequenceFake()
    fake.seed(3)
    here = only(fake)
    ids = [row["id"] for row in fake.truth()["activity_logs"][:2]]
    result = gapless("sync", "sequence", "--id", ids[0], "--id", ids[1])
    assert result.exit_code == 0, result.stderr
    assert [path.rsplit("/", 1)[1] for _, path, _ in fake.requests] == ids
    assert sorted(here.sql("select id from activity_logs")) == sorted((found,) for found in ids)


# -- locks, Ctrl-C, rounds -------------------------------------------------------------------------


def test_locked(only: Callable[[Any], Any]) -> None:
    """A second sync of the same destination ends with 75 before any request."""
    here = only(small())
    with Target.find("duckdb").locked():
        code, out, err = run("sync", "--json")
    assert (code, json.loads(out)["exit_code"], here.fake.requests) == (75, 75, [])
    assert "another sync is writing" in err


@pytest.mark.slow
def test_ctrl_c_while_waiting(only: Callable[[Any], Any]) -> None:
    """Ctrl-C in a wait of minutes ends at once with 130 and without a traceback; the next sync is exact."""
    here = only(small()).set(GAPLESS_RETRY_BUDGET="600")
    refused = threading.Event()

    def intercept(request: httpx.Request) -> httpx.Response | None:
        if "action-logs" not in request.url.path:
            return None
        refused.set()
        return httpx.Response(429, headers={"Retry-After": "60"})

    here.intercept = intercept
    with process("sync", "--json") as running:
        assert refused.wait(30)
        _until(lambda: _idle(running.pid))
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)  # the wait would be twice as long
    assert (running.returncode, json.loads(out)["exit_code"]) == (130, 130)
    assert "What is committed stays" in err
    assert "Traceback" not in err
    here.mend()
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_ctrl_c_while_loading(only: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C that dlt wraps into an error of its own is still Ctrl-C, and the run is noted as interrupted."""
    here = only(small())
    here.complete()
    here.fake.advance(60)

    def load(*args: object, **kwargs: object) -> None:
        raise RuntimeError("step load failed") from KeyboardInterrupt()

    monkeypatch.setattr("dlt.Pipeline.load", load)
    result = gapless("sync")
    assert result.exit_code == 130
    assert "What is committed stays" in result.stderr
    assert here.sql("select outcome, error from runs order by started_at desc limit 1") == [("failed", "interrupted")]


def test_every(only: Callable[[Any], Any], tmp_path: Path) -> None:
    """--every syncs again and again, leaves the file free between rounds and ends with 130 on Ctrl-C."""
    here, documents = only(small()), list[Any]()
    with process("sync", "--every", "1s", "--json") as running:
        assert running.stdout
        documents.append(json.loads(running.stdout.readline()))
        _until(lambda: _written_to(tmp_path / "gapless.duckdb"))  # between two rounds nobody else has it open
        here.fake.advance(60)
        documents += [json.loads(running.stdout.readline()) for _ in range(2)]  # one may have begun
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert [document["exit_code"] for document in documents] == [0, 0, 0]
    assert (running.returncode, "next sync at" in err, "What is committed stays" in err) == (130, True, True)
    here.assert_exact()


@pytest.mark.slow
def test_every_reads_a_changed_key(only: Callable[[Any], Any], tmp_path: Path) -> None:
    """In the round after it was changed in secrets.toml, which may be broken for a moment."""
    here = only(small())
    here.monkeypatch.delenv("OMNI_API_KEY")
    secrets = tmp_path / ".dlt" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text('[sources.omni]\nomni_api_key = "revoked"')
    with process("sync", "omni", "--every", "1s", "--json") as running:
        assert running.stdout
        assert running.stderr
        codes = [json.loads(running.stdout.readline())["exit_code"]]
        secrets.write_text("[sources.omni")
        while "this round failed: " not in running.stderr.readline():
            assert running.poll() is None
        secrets.write_text('[sources.omni]\nomni_api_key = "demo-key"')
        while codes[-1] != 0:  # rounds in between have documents, too
            codes.append(json.loads(running.stdout.readline())["exit_code"])
    assert [code for code, _ in groupby(codes)] == [1, 2, 0]


@pytest.mark.slow
def test_every_reads_changed_accounts(only: Callable[[Any], Any], tmp_path: Path) -> None:
    """An account that was added is synced in the next round, and one that was taken out in none after that; what was
    said of sources without keys is not said again."""
    here = only(small())
    config = tmp_path / ".dlt" / "config.toml"
    config.parent.mkdir()
    config.write_text("")
    config.with_name("secrets.toml").write_text('[sources.omni_eu]\nomni_eu_api_key = "demo-key"')
    added = f"""
accounts = {{omni_eu = "omni"}}
[sources.omni_eu]
omni_eu_base_url = "{os.environ["OMNI_BASE_URL"]}"
"""

    half = 'tines_base_url = "https://example.tines.com"\n'  # and no key yet

    def synced() -> list[str]:
        document = json.loads(running.stdout.readline())  # type: ignore[union-attr]  # it has a pipe
        assert (document["exit_code"], document["error"]) == (0, None), document["error"]
        return [source["source"] for source in document["sources"]]

    with process("sync", "--every", "1s", "--json") as running:
        rounds = [synced()]
        for text in (added, half + added, half):
            config.write_text(text)
            before, waited = rounds[-1], 0
            while rounds[-1] == before and (waited := waited + 1) < (3 if added in text and half in text else 20):
                rounds.append(synced())
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert [names for names, _ in groupby(rounds)] == [["omni"], ["omni", "omni_eu"], ["omni"]]
    assert err.count("sequence: skipped") == 1
    assert "tines: TINES_API_KEY not set, although TINES_BASE_URL is" in err
    assert here.sql("select count(*) > 0 from omni_eu.action_logs") == [(True,)]


def _written_to(file: Path) -> bool:
    """Whether somebody else could write to it just now."""
    try:
        with duckdb.connect(str(file)) as db:
            db.execute("create table mine as select 1 as one")
    except duckdb.IOException:
        return False
    return True


def test_rounds_go_on() -> None:
    """A lock that is held, a round that fails or a setting that a person just breaks does not end --every; the pace
    is from start to start."""
    events: list[Any] = [Locked("another sync"), GaplessError("disk full"), WrongSettings("no such key"), 0]
    now, slept, said = [0.0], list[float](), list[str]()

    def once() -> int:
        now[0] += 10
        if not events:
            raise KeyboardInterrupt
        event = events.pop(0)
        if isinstance(event, Exception):
            raise event
        return 0

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    midnight = datetime(2026, 1, 1)
    with pytest.raises(KeyboardInterrupt):
        loop.repeat(once, once, 15, said.append, clock=lambda: now[0], sleep=sleep, now=lambda: midnight)
    assert slept == [5, 5, 5, 5]
    assert [line for line in said if "failed" in line] == [
        "this round failed: another sync",
        "this round failed: disk full",
        "this round failed: no such key",
    ]


def test_the_first_round_has_wrong_settings() -> None:
    """It ends the command: nobody has seen it work."""

    def first() -> int:
        raise WrongSettings("no such key")

    with pytest.raises(WrongSettings):
        loop.repeat(first, first, 15, [].append)


# -- errors and secrets ----------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
def test_unexpected_error(debug: bool, only: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is one short line, with --debug a traceback, and neither shows a key."""
    only(small()).set(OMNI_API_KEY="canary-key-0123456789")

    def broken(*args: object) -> None:
        raise RuntimeError("lost canary-key-0123456789 somewhere")

    monkeypatch.setattr("gapless.pipelines.sync.run.sync", broken)
    result = gapless("sync", "omni", *(["--debug"] if debug else []))
    assert result.exit_code == 1
    assert "RuntimeError: lost *** somewhere" in result.stderr
    assert ("Traceback" in result.stderr) is debug
    assert "canary" not in result.output


def test_logs_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, a database's password and quoted forms are blanked in a log's line and its traceback."""
    monkeypatch.setenv("TINES_API_KEY", "canary/one+two")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", "postgresql://me:canary-pass@host/db")
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "kept/gapless.duckdb")
    redaction.register_secrets()
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(redaction.Redacting(None))
    logger = logging.Logger("gapless.test")
    logger.addHandler(handler)
    try:
        raise ValueError("canary-pass")
    except ValueError:
        logger.exception("%s, %s, kept/gapless.duckdb", "canary/one+two", "canary%2Fone%2Btwo")
    assert "***, ***, kept/gapless.duckdb" in stream.getvalue()
    assert "canary" not in stream.getvalue()


def test_secrets_of_a_file(tmp_path: Path) -> None:
    """What stands in secrets.toml under a telling name is blanked too."""
    (tmp_path / ".dlt").mkdir()
    text = '[sources.omni]\nomni_api_key = "canary-in-file"\nomni_base_url = "http://127.0.0.1:9"\n'
    (tmp_path / ".dlt" / "secrets.toml").write_text(text)
    script = "from gapless.pipelines import redaction as r; r.register_secrets();"
    script += " print(r.redact('canary-in-file 127.0.0.1'))"
    done = warm.run([sys.executable, "-c", script], check=True)
    assert done.stdout == "*** 127.0.0.1\n"


# -- progress --------------------------------------------------------------------------------------


def _session() -> Session:
    session = Session(client=Client("http://127.0.0.1:9"))
    session.counters.pages, session.counters.records = 12, 1200
    session.counters.parents, session.counters.parents_total = 3, 25
    assert session.client
    session.client.stats.add(requests=14, waiting=1)
    return session


def test_facts() -> None:
    """A line of progress tells pages, records and their pace, parents, requests, and a wait."""
    session = _session()
    told = "12 pages · 1,200 records (600/s) · 3/25 parents · 14 requests · waiting for the rate limit"
    assert progress.progress_text(session, 2.0) == told
    assert session.client
    session.client.stats.trouble = "GET /leads: the connection failed"
    told = "requests · waiting to try again: GET /leads: the connection failed"
    assert progress.progress_text(session, 2.0).endswith(told)
    session.client.close()


@pytest.mark.parametrize("terminal", [False, True])
def test_progress(terminal: bool) -> None:
    """Progress is a live line on a terminal, and in a log a line now and then; both tell the end."""
    session, stream = _session(), StringIO()
    console = Console(file=stream, force_terminal=terminal, width=140)
    with progress.displayed(console, every=0.02) as display:
        display.start("omni", session)
        _until(lambda: terminal or stream.getvalue().count("12 pages") > 1)
        display.end(Outcome("omni", started_at=datetime.now(), outcome="complete", requests=14))
    assert "complete, 0 rows, 14 requests" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) is terminal
    assert session.client
    session.client.close()


def _idle(pid: int) -> bool:
    """Whether the process computed nothing for a fifth of a second: it waits."""

    def spent() -> list[str]:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]

    before = spent()
    time.sleep(0.2)
    return spent() == before


def _until(true: Callable[[], object], seconds: float = 30.0) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)
