"""dlt's own tools on what gapless has loaded, as OBSERVING.md tells it; and `runs`, wherever it lies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources.tines.fake import TinesFake
from tests.support import warm
from tests.support.postgres import Server
from tests.support.world import World, some

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "pipelines" / "docs" / "OBSERVING.md").read_text()
TOOLS = PAGE.split("\n## dlt's own tools\n")[1]
Begin = Callable[[Any], World]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """As somebody would in a shell with the environment active, in a home of their own."""
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    ours = {"PATH": scripts, "HOME": str(folder), "DLT_DATA_DIR": str(folder / ".dlt"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **ours},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def gapless(*args: str) -> int:
    return CliRunner().invoke(app, list(args)).exit_code


@pytest.mark.sweep
def test_dlts_commands_as_on_the_page(world: Begin, tmp_path: Path) -> None:
    """The shell block about `dlt pipeline` runs as it stands, and shows the schema that gapless loaded."""
    world(TinesFake.demo()).synced()
    (script, *_) = blocks("sh", TOOLS)
    done = run(tmp_path, "bash", "-euo", "pipefail", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "schema_names: ['tines']" in done.stdout
    assert "action_logs:" in done.stdout


def test_dlt_in_python_as_on_the_page(world: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dlt.attach` and `dlt.dataset` need no working files; and the sync after them is exact all the same."""
    here = world(TinesFake.demo())
    here.complete()
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(tmp_path / "gapless.duckdb"))
    (script,) = blocks("python", TOOLS)
    done = warm.run([sys.executable, "-c", script], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'action_logs'" in done.stdout
    assert "complete" in done.stdout
    here.fake.advance(60)
    here.complete()
    here.assert_exact()


@pytest.mark.parametrize("destination", some(["duckdb", "postgres"], "duckdb"))
def test_runs_can_be_asked(
    destination: str, world: Begin, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's query tells complete, partial and failed syncs apart, newest first, wherever they lie."""
    here = world(TinesFake.demo())
    url = server.database()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
    (query,) = blocks("sql", PAGE)
    codes = [gapless("sync", "tines", "--destination", destination)]
    here.fake.advance(60)
    here.fake.failing[f"/api/v1/actions/{here.fake.truth()['actions'][0]['id']}/logs"] = 403
    codes.append(gapless("sync", "tines", "--destination", destination))
    here.fake.failing["/api/v1/actions"] = 401
    codes.append(gapless("sync", "tines", "--destination", destination))
    found: list[tuple[Any, ...]]
    if destination == "duckdb":
        with duckdb.connect(str(tmp_path / "gapless.duckdb"), read_only=True) as database:
            found = database.execute(query).fetchall()
    else:
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            found = cursor.fetchall()
    assert codes == [0, 3, 1]
    assert [(row[1], bool(row[8]), bool(row[9])) for row in found] == [
        ("failed", False, True),
        ("partial", True, False),
        ("complete", False, False),
    ]


def test_the_page_names_what_there_is() -> None:
    """Every event, metric and setting that the code has stands on the page, and none that it has not."""
    code = "\n".join(file.read_text() for file in (ROOT / "pipelines").glob("**/*.py"))
    events = set(re.findall(r'event(?:"\s*:\s*|: str = |=)"(\w+)"', code))
    table = PAGE.split("| event |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()[2:]))) == events
    metrics = set(re.findall(r'"(gapless\.[\w.]+)", "', code)) | set(re.findall(r'gauge\("([\w.]+)"', code))
    shown = PAGE.split("- **Metrics**")[1].split("\n\nWith")[0]
    assert set(re.findall(r"`(gapless\.[\w.]+)`", shown)) == metrics
