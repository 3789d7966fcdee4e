"""What the tests lean on: a warm process behaves as a true one, and an interception that meets nobody is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from gapless.sources.tines.fake import TinesFake
from tests.support import warm
from tests.support.world import LET_THROUGH, World

REQUEST = httpx.Request("GET", "http://vendor.test/api/v1/actions")


@pytest.mark.parametrize(
    "script",
    [
        "import sys; print(sys.argv, sys.stdin.read(), __name__); sys.exit('no')",
        "import sys; sys.exit(7)",
        "raise KeyError('x')",
        "raise KeyboardInterrupt",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import atexit, threading; atexit.register(print, 1); threading.Timer(0.3, print, [2]).start(); print(3)",
        "import os, time; print(os.getcwd(), os.environ['OWN'], time.tzname)",
        "open('no such file')",
    ],
)
def test_a_warm_process_is_as_a_true_one(script: str, tmp_path: Path) -> None:
    """Exit code, stdout, and the last line of stderr."""
    command, environment = [sys.executable, "-c", script, "argument"], {**os.environ, "OWN": "1"}
    how: dict[str, Any] = {"cwd": tmp_path, "env": environment, "input": "asked", "timeout": 60}
    true = subprocess.run(command, **how, capture_output=True, text=True, check=False)
    forked = warm.run(command, **how)
    assert (forked.returncode, forked.stdout) == (true.returncode, true.stdout)
    assert forked.stderr.splitlines()[-1:] == true.stderr.splitlines()[-1:]


def test_a_warm_process_is_talked_to_and_stopped() -> None:
    """Its streams are pipes, it is polled, and a signal ends it."""
    script = "print('ready', flush=True); print(input(), flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with warm.Popen([sys.executable, "-c", script], **pipes) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("a line\n")
        process.stdin.flush()
        assert process.stdout.readline() == "a line\n"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


def test_a_warm_process_has_the_sources_of_its_own_settings(tmp_path: Path) -> None:
    """They are in the register and in the help texts of that one, and in no later one."""
    script = """
from gapless.pipelines.cli import options
from gapless.sources import SOURCES
print("okta" in SOURCES, "okta" in options.NAMES)
"""
    for named, known in (({}, "False False\n"), ({"GAPLESS_SOURCES": "tests.fifth.okta"}, "True True\n")) * 2:
        assert warm.run([sys.executable, "-c", script], env={**os.environ, **named}, check=True).stdout == known


@pytest.mark.sweep
def test_a_warm_process_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although a run of the tests that is a shell's background job ignores Ctrl-C, and all that it starts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = warm._started(Path(tempfile.mkdtemp()))  # a socket's path must be short
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.setattr(warm, "_server", lambda: server["address"])
    with warm.Popen([sys.executable, "-c", "print('ready', flush=True); input()"], stdin=-1, stdout=-1) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT
    os.kill(server["pid"], signal.SIGQUIT)
    os.waitpid(server["pid"], 0)


def test_an_interception_that_meets_nobody_is_noticed(world: Callable[[Any], World]) -> None:
    """Until it answers, or does something and lets the vendor answer; or says that it need not."""
    here = world(TinesFake())
    here.intercept = lambda request: None
    assert here.handle(REQUEST).status_code == 401
    assert here.never_fired() == 1
    here.may_not_fire()
    assert here.never_fired() == 0
    here.intercept = lambda request: httpx.Response(418)
    assert (here.never_fired(), here.handle(REQUEST).status_code, here.never_fired()) == (1, 418, 0)
    here.intercept = lambda request: LET_THROUGH
    assert (here.never_fired(), here.handle(REQUEST).status_code, here.never_fired()) == (1, 401, 0)
