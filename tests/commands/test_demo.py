"""The demo: what a newcomer sees first. No keys, no network, no traces but one file."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from gapless.pipelines.cli import demo
from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations.target import DEMO_FILE
from gapless.sources import SOURCES
from tests.support import warm
from tests.support.shared import once

NOW = "2026-03-02T10:00:00+00:00"
"""The time of the demo whose answers stand on the pages."""
ELSEWHERE = {
    "OMNI_API_KEY": "canary-key",
    "OMNI_BASE_URL": "http://127.0.0.1:9",
    "OMNI_LEAD_IDS": "canary-lead",
    "SEQUENCE_INITIAL_VALUE": "2030-01-01",
    "TINES_REQUESTS_PER_MINUTE": "1",
    "SOURCES__KIZEN__KIZEN_API_KEY": "canary-key",
    "DESTINATION__DUCKDB__CREDENTIALS": "canary.duckdb",
    "HTTP_PROXY": "http://127.0.0.1:9",
}
"""A user's own settings, none of which the demo may use."""


def gapless(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def once_run(folder: Path) -> dict[str, Any]:
    """Runs the demo in `folder`, for `once("demo", once_run)`: all tests that look at it share one."""
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "secrets.toml").write_text('[sources.omni]\nomni_api_key = "canary-key"\n')
    with duckdb.connect(str(folder / DEMO_FILE)) as db:  # an earlier demo's
        db.execute("create table gapless_demo as select 1; create schema omni; create table omni.stale as select 1")
    done = warm.run(
        [sys.executable, "-m", "gapless.pipelines", "demo", "--json", "--now", NOW],
        cwd=folder,
        env={**os.environ, **ELSEWHERE, "DLT_PROJECT_DIR": str(folder)},
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return {
        "output": done.stdout + done.stderr,
        "told": json.loads(done.stdout),
        "file": str(folder / DEMO_FILE),
        "left": sorted(path.name for path in folder.iterdir()),
    }


def test_demo() -> None:
    """Four sources are synced twice, whatever the user has set; one file is left, and it holds what is told."""
    done = once("demo", once_run)
    file, told = Path(done["file"]), done["told"]
    assert "canary" not in done["output"]
    assert set(done["left"]) - {file.name + ".lock"} == {".dlt", file.name}
    outcomes = [(outcome["source"], outcome["outcome"]) for outcome in told["first"] + told["second"]]
    assert outcomes == [(name, "complete") for name in SOURCES] * 2
    grown = {name for name, rows in told["tables"].items() if rows["second"] > rows["first"]}
    assert {"omni.leads", "sequence.activity_logs", "kizen.logged_activities", "tines.action_logs"} <= grown
    _assert_told(file, told)


def _assert_told(file: Path, told: dict[str, Any]) -> None:
    """Row counts and the answer are those of the file; of an earlier demo nothing is left."""
    assert told["file"] == str(file)
    with duckdb.connect(str(file), read_only=True) as db:
        counts = {name: db.execute(f"select count(*) from {name}").fetchall()[0][0] for name in told["tables"]}
        assert counts == {name: rows["second"] for name, rows in told["tables"].items()}
        assert db.execute("select * from duckdb_tables() where table_name = 'stale'").fetchall() == []
        answer = db.execute(told["query"])
        names = [column[0] for column in answer.description or []]
        rows = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
    assert rows == [{**row, "latest": datetime.fromisoformat(row["latest"])} for row in told["answer"]]
    assert len(rows) == 5


def test_what_a_person_sees(tmp_path: Path) -> None:
    """Tables with rows, the question with its answer, where the file is, and a way to look into it that works."""
    file = tmp_path / "gapless-demo.duckdb"
    with duckdb.connect(str(file)) as db:
        db.execute("create schema activity; create view activity.timeline as select 'lead-1' as object_id")
    answer = [["ada@example.com", "CREATED", 76, datetime(2026, 3, 2, 9, 55)]]
    tables = {"omni.leads": [25, 1026], "omni.action_logs__messages": [1, 2]}
    shown = demo.DemoResult(file, tables=tables, columns=["who", "verb", "times", "latest"], answer=answer)
    console = Console(record=True, width=160, file=StringIO())
    for part in demo.summary(shown):
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
    text = console.export_text()
    rows = [line.split() for line in text.splitlines()]
    assert ["omni.leads", "25", "1,026", "1,001"] in rows
    assert ["ada@example.com", "CREATED", "76", "2026-03-02", "09:55"] in rows
    assert ["duckdb", "-readonly", file.name] in rows
    assert all(word in text for word in (demo.QUERY, "gapless init", "and 1 table of"))
    script = next(line.strip() for line in text.splitlines() if line.strip().startswith("python -c"))
    script = script.replace("python", shlex.quote(sys.executable), 1)
    looked = subprocess.run(script, shell=True, capture_output=True, text=True, check=True)
    assert "lead-1" in looked.stdout


def test_nothing_of_the_user_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the demo runs dlt knows its settings alone; afterwards everything is as it was."""
    monkeypatch.setenv("OMNI_API_KEY", "users-key")
    monkeypatch.setenv("no_proxy", "users.example")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:none")
    monkeypatch.setenv("SSL_CERT_FILE", "nowhere.pem")
    before = dict(os.environ)
    with suppress(KeyboardInterrupt), demo.configuration(dict.fromkeys(SOURCES, "http://127.0.0.1:9")):
        assert (dlt.secrets["sources.omni.omni_api_key"], dlt.secrets.get("omni_api_key")) == ("demo-key", None)
        assert os.environ["NO_PROXY"] == "*"
        assert {"no_proxy", "HTTPS_PROXY", "SSL_CERT_FILE"} & {*os.environ} == set()
        raise KeyboardInterrupt
    assert dict(os.environ) == before
    assert dlt.secrets.get("omni_api_key") == "users-key"


def test_a_file_that_is_not_the_demos(tmp_path: Path) -> None:
    """A database or any other file that no demo made is left alone: 2."""
    database, diary = tmp_path / "gapless.duckdb", tmp_path / "diary.txt"
    with duckdb.connect(str(database)) as db:
        db.execute("create schema omni; create table omni.leads as select 1 as lead_id")
    diary.write_text("dear diary")
    before = [database.read_bytes(), diary.read_bytes()]
    for file in (database, diary, tmp_path / "no such folder" / "x.duckdb"):
        result = gapless("demo", "--file", str(file))
        assert (result.exit_code, result.stdout) == (2, "")
    assert [database.read_bytes(), diary.read_bytes()] == before
