"""Keys reach their vendor and nobody else, no log and no file; what is private reaches no file in clear.

The default run takes two faults a source; `SECURITY_ROUNDS=25 pytest tests/sources/test_security.py` all six,
so often.
"""

from __future__ import annotations

import hmac
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import httpx2 as httpx
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]
ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("SECURITY_ROUNDS", "0"))
KEYS = {
    "OMNI_API_KEY": "cAnArY/omni+key=1",
    "SEQUENCE_CLIENT_ID": "cAnArY-sequence-id",
    "SEQUENCE_CLIENT_SECRET": "cAnArY/sequence:secret 2",
    "KIZEN_API_KEY": "cAnArY-kizen-key",
    "KIZEN_BUSINESS_ID": "cAnArY-kizen-business",
    "KIZEN_USER_ID": "cAnArY-kizen-user",
    "TINES_API_KEY": "cAnArY.tines%key",
}
BASIC = b64encode(f"{KEYS['SEQUENCE_CLIENT_ID']}:{KEYS['SEQUENCE_CLIENT_SECRET']}".encode()).decode()
NEEDLES = sorted(
    {form for key in (*KEYS.values(), BASIC) for form in (key, quote(key, safe=""), json.dumps(key)[1:-1])}
)
FAULTS = ("none", "401", "500", "html", "redirect", "cut")
TALKATIVE = """
import logging, shutil, socket, sys
from pathlib import Path
from gapless.pipelines import redaction
from gapless.pipelines.destinations import target
from gapless.pipelines.cli.app import app

real_connect, real_rmtree, real_guard = socket.socket.connect, shutil.rmtree, redaction.guard_logs

def connect(self, address):
    if address[0] != "127.0.0.1":
        print("FOREIGN HOST", address, flush=True)
        raise OSError("no way")
    return real_connect(self, address)

def getaddrinfo(host, *rest, real=socket.getaddrinfo, **more):
    if host not in ("127.0.0.1", b"127.0.0.1"):
        print("FOREIGN NAME", host, flush=True)
        raise OSError("no way")
    return real(host, *rest, **more)

def rmtree(folder, **how):
    global kept
    if Path(folder).exists():
        kept += 1
        shutil.copytree(folder, f"kept/{kept}")
    real_rmtree(folder, **how)

class Unredacted(logging.Handler):
    def emit(self, record):
        if record.name.split(".")[0] in ("gapless", "dlt"):
            with open("unredacted.txt", "a") as file:
                file.write(record.getMessage() + "\\n")

def guard():
    real_guard()
    for name in ("", "httpx2", "httpcore2", "dlt", "gapless"):
        logging.getLogger(name).setLevel(logging.DEBUG)

kept = 0
sys.stderr = open("stderr.txt", "w")
logging.basicConfig(level=logging.DEBUG)
logging.getLogger().addHandler(Unredacted())
socket.socket.connect, socket.getaddrinfo, shutil.rmtree, redaction.guard_logs = connect, getaddrinfo, rmtree, guard
for line in sys.stdin:
    try:
        app(line.split())
    except SystemExit as end:
        print("ended with", end.code, flush=True)
"""


def answers(fault: str) -> Callable[[httpx.Request], httpx.Response | None]:
    """A vendor that repeats what it was sent wherever it can."""

    def answer(request: httpx.Request) -> httpx.Response | None:
        names = ("authorization", "x-api-key", "x-business-id", "x-user-id")
        sent = " ".join(request.headers.get(name, "") for name in names)
        body = {"error": {"message": f"what is {sent}?", "type": sent}, "detail": sent}
        made: dict[str, httpx.Response | None] = {
            "none": None,
            "401": httpx.Response(401, json=body),
            "500": httpx.Response(500, json=body, headers={"x-echo": sent}),
            "html": httpx.Response(200, html=f"<h1>{sent}</h1>"),
            "redirect": httpx.Response(302, headers={"location": f"http://foreign.example/?key={quote(sent)}"}),
            "cut": httpx.Response(200, content=json.dumps(body)[:-9], headers={"content-type": "application/json"}),
        }
        return made[fault]

    return answer


def test_keys_reach_nobody_else(world: Begin, tmp_path: Path) -> None:
    """Every auth style x fault, with all logs at their loudest: no key in output, files, working files or tables."""
    vendors = {name: world(_with_keys(name)) for name in SOURCES}
    ended = []
    with _talkative(tmp_path) as running:
        for name, fault in _runs():
            vendors[name].intercept = answers(fault)
            if fault == "none":
                vendors[name].may_not_fire()
            ended.append(_told(running, f"--debug sync {name}"))
            assert ended[-1].endswith("ended with 0\n" if fault == "none" else "ended with 1\n")
        out, _ = running.communicate(timeout=60)
    texts = {"stdout": "".join(ended) + out, **dict(written(tmp_path))}
    assert "FOREIGN" not in texts["stdout"]
    assert "DEBUG" in texts["stderr.txt"], "the logs were not loud"
    assert any(name.startswith("kept") and "parquet" in name for name in texts), "no working file was seen"
    leaks = [(where, needle) for where, text in texts.items() for needle in NEEDLES if needle in text]
    assert leaks == []
    asked = json.dumps([here.fake.requests for here in vendors.values()])
    assert [needle for needle in NEEDLES if needle in asked] == []


def _runs() -> list[tuple[str, str]]:
    """Which source meets which fault."""
    if ROUNDS:
        return [(name, fault) for fault in FAULTS for name in SOURCES] * ROUNDS
    some = [(name, FAULTS[1 + index]) for index, name in enumerate([*SOURCES, "sequence"])]
    return [(name, "none") for name in SOURCES] + some


def _with_keys(name: str) -> Any:
    own = {key.lower().removeprefix(f"{name}_"): value for key, value in KEYS.items() if key.startswith(name.upper())}
    return subject(name).filled(2, 5, **own)


def _talkative(folder: Path) -> subprocess.Popen[str]:
    """A process in which gapless runs with every log at its loudest, and working files are copied before they go."""
    (folder / "temp").mkdir()
    loud = {"RUNTIME__LOG_LEVEL": "DEBUG", "GAPLESS_DEBUG": "1", "TMPDIR": str(folder / "temp")}
    loud["XDG_STATE_HOME"] = loud["TMPDIR"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return warm.Popen([sys.executable, "-c", TALKATIVE], env={**os.environ, **KEYS, **loud}, **pipes)


def _told(running: subprocess.Popen[str], command: str) -> str:
    assert running.stdin
    assert running.stdout
    running.stdin.write(command + "\n")
    running.stdin.flush()
    lines = []
    while not lines or not lines[-1].startswith("ended with"):
        lines.append(running.stdout.readline())
        assert lines[-1], "the process died"
    return "".join(lines)


def written(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything in the files below a folder: bytes, rows of parquet, cells of databases."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        name = str(file.relative_to(folder))
        yield name, file.read_bytes().decode(errors="replace")
        if file.suffix == ".parquet":
            yield f"{name} (rows)", str(pq.read_table(file).to_pylist())
        if file.suffix == ".duckdb":
            with duckdb.connect(str(file), read_only=True) as db:
                found = db.execute("select table_schema, table_name from information_schema.tables").fetchall()
                for schema, table in found:
                    rows = db.execute(f'select * from "{schema}"."{table}"').fetchall()
                    yield f"{name} {schema}.{table}", str(rows)


# -- personal data: tests/contract/test_personal_data.py has what holds for every source ----------------


@pytest.mark.slow
def test_hashes_are_equal_for_equal_values_under_one_key(world: Begin, tmp_path: Path) -> None:
    """HMAC-SHA256, so that joins and counts still work, and another key gives others."""
    fake = subject("sequence").empty()
    for origin in ("API", "API", "DASHBOARD"):
        fake.add_log(origin=origin)
    here = world(fake).set(SEQUENCE_PRIVACY="activity_logs.origin=hash")
    held = {}
    for key in ("pepper of some length", "salt of another length"):
        (tmp_path / "gapless.duckdb").unlink(missing_ok=True)
        here.set(GAPLESS_HASH_KEY=key).complete()
        held[key] = here.sql("select origin, count(*) from activity_logs group by all order by 2")
    for key, rows in held.items():
        wanted = [
            (hmac.new(key.encode(), value, "sha256").hexdigest(), n) for value, n in ((b"DASHBOARD", 1), (b"API", 2))
        ]
        assert rows == wanted
    assert not set.intersection(*map(set, held.values()))


@pytest.mark.parametrize(
    ("rules", "key"),
    [
        ("activity_logs.nick=drop", "k"),
        ("nowhere.origin=drop", "k"),
        ("activity_logs.origin=burn", "k"),
        ("activity_logs.id=drop", "k"),
        ("activity_logs.id=hash", "k"),
        ("activity_logs.created_at=drop", "k"),
        ("activity_logs.origin=hash", ""),
        ("origin", "k"),
    ],
)
def test_a_policy_that_cannot_be_kept(rules: str, key: str, world: Begin) -> None:
    """Wrong usage, before any request: the setting and the rule are named."""
    here = world(subject("sequence").empty()).set(SEQUENCE_PRIVACY=rules, GAPLESS_HASH_KEY=key)
    result = CliRunner().invoke(app, ["sync", "sequence"])
    assert (result.exit_code, here.asked()) == (2, 0)
    assert "SEQUENCE_PRIVACY" in result.stderr
    assert rules.split("=", maxsplit=1)[0] in result.stderr
