"""dlt's dashboard on what gapless has loaded. In an environment of its own: `pip install marimo ibis-framework`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from gapless.sources.tines.fake import TinesFake
from tests.support.world import World

PAGE = (Path(__file__).resolve().parents[2] / "pipelines" / "docs" / "OBSERVING.md").read_text()
TOOLS = PAGE.split("\n## dlt's own tools\n")[1]


@pytest.fixture
def loaded(world: Callable[[Any], World], tmp_path: Path) -> dict[str, str]:
    """A synced database, dlt's working files fetched as the page says; the environment of whoever did it."""
    world(TinesFake.demo()).complete()
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    own = {"HOME": str(tmp_path), "DLT_DATA_DIR": str(tmp_path / ".dlt"), "PATH": scripts}
    file = {"DESTINATION__DUCKDB__CREDENTIALS": str(tmp_path / "gapless.duckdb"), "NO_PROXY": "127.0.0.1,localhost"}
    (fetch, *_) = re.findall(r"^```sh\n(.*?)^```$", TOOLS, re.MULTILINE | re.DOTALL)
    environment = {**os.environ, **own, **file}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", fetch],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetched(url: str, running: subprocess.Popen[bytes]) -> str:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        assert running.poll() is None, "the dashboard ended"
        try:
            with urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the dashboard did not answer within 60 s")


def test_the_dashboard_starts_and_answers(loaded: dict[str, str]) -> None:
    """The page's own line, without a browser, serves dlt's page."""
    (line,) = re.findall(r'^python -c "(.*)"$', TOOLS, re.MULTILINE)
    port = free_port()
    script = line.replace("run_dashboard('tines')", f"run_dashboard('tines', port={port}, headless=True)")
    assert script != line
    with subprocess.Popen([sys.executable, "-c", script], env=loaded, start_new_session=True) as running:
        try:
            page = fetched(f"http://127.0.0.1:{port}", running)
        finally:
            os.killpg(running.pid, 15)
    assert "marimo" in page


def test_the_dashboard_shows_our_tables(loaded: dict[str, str], tmp_path: Path) -> None:
    """Run to its end and written to a file, it names the pipeline's tables and has no error in it."""
    from dlt._workspace.helpers.dashboard import dlt_dashboard  # noqa: PLC0415  # not in every environment

    made = tmp_path / "dashboard.html"
    command = [sys.executable, "-m", "marimo", "export", "html", dlt_dashboard.__file__, "-o", str(made)]
    done = subprocess.run(
        [*command, "--", "--pipeline", "tines"], env=loaded, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    page = made.read_text()
    assert "action_logs" in page
    assert "Traceback" not in page
