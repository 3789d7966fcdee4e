"""What a command says never stops what it does: closed, full and dead streams, and SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import LET_THROUGH, World, some

Begin = Callable[[Any], World]
BROKEN = ("2>/dev/full", "2>&-", ">/dev/full", ">&-", "2>&1 | head -c 0", "<&- >&- 2>&-")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "more"), some(product(BROKEN, ("", "--json --log-format json")), (BROKEN[-1], ""))
)
def test_a_sync_ends_with_its_own_code(streams: str, more: str, world: Begin) -> None:
    """And with all rows and its row in `runs`, wherever its words go. In a process of its own: a fork has streams."""
    here = world(subject(NAMES[0]).filled())
    command = [sys.executable, "-m", "gapless.pipelines", "sync", here.name, *more.split()]
    # A script, as only a shell closes streams before Python starts.
    script = f'"$@" {streams}; exit "${{PIPESTATUS[0]}}"'
    ended = subprocess.run(["bash", "-c", script, "bash", *command], timeout=60, check=False)
    assert ended.returncode == 0
    here.assert_exact()
    assert here.sql("select outcome from runs") == [("complete",)]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", some(["ascii", "latin-1"], "ascii"))
def test_a_stream_without_some_characters(encoding: str, tmp_path: Path) -> None:
    """It gets all that is said, with those escaped, also within JSON; none is a reason to fall silent."""
    missing = "\N{SNOWMAN}\N{GRINNING FACE}"
    settings = {"PYTHONIOENCODING": encoding, "DESTINATION__DUCKDB__CREDENTIALS": f"{missing}.duckdb"}

    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "gapless.pipelines", *arguments]
        return subprocess.run(
            command, env={**os.environ, **settings}, capture_output=True, encoding=encoding, check=True
        ).stdout

    assert len(told("sync", "--help")) > 3_000
    assert json.loads(told("status", "--json"))["file"].endswith(f"{missing}.duckdb")


def stopped(here: World, command: list[str], number: int, *, first: bool) -> None:
    """Runs the command until its third request, and sends it the signal twice; it must end with 130."""
    running: list[subprocess.Popen[str]] = []
    alone = ["unshare", "--pid", "--fork", "--mount-proc"] if first else []

    def stop(request: httpx.Request) -> httpx.Response | None:
        if here.asked() == 3:
            pid = running[0].pid
            child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0] if first else pid
            for _ in range(2):
                os.kill(int(child), number)
        return LET_THROUGH

    here.fake.requests.clear()
    here.intercept = stop
    start = partial(subprocess.Popen, text=True) if first else warm.Popen
    if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
        # These tests run under nohup, whose children are to go on.
        start = partial(subprocess.Popen, text=True, preexec_fn=partial(signal.signal, number, signal.SIG_DFL))
    running.append(start([*alone, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    said = running[0].communicate(timeout=60)[1]
    assert (running[0].returncode, "Stopped." in said) == (130, True), said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_is_ctrl_c(number: int, world: Begin) -> None:
    """Exit 130 and a row in `runs`, in the middle of a request; the next sync goes on."""
    here = world(subject(NAMES[0]).filled())
    stopped(here, [sys.executable, "-m", "gapless.pipelines", "sync", here.name], number, first=False)
    assert here.sql("select outcome, error from runs") == [("failed", "interrupted")]
    here.mend()
    here.complete()
    here.assert_exact()


WINDOW = ("--since", "2000-01-01", "--until", "2100-01-01")
LONG = {"sync": [], "backfill": WINDOW, "verify": ["--whole"], "sync --every": ["--every", "1h"]}
CAN_UNSHARE = not subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True).returncode


@pytest.mark.slow
@pytest.mark.parametrize("name", some(LONG, "sync"))
def test_sigterm_for_the_first_process_of_a_container(name: str, world: Begin) -> None:
    """The kernel drops a signal that such a process has no handler for: each long command has one."""
    here = world(subject(NAMES[0]).filled())
    if name == "verify":
        here.synced()
    command = [sys.executable, "-m", "gapless.pipelines", name.split(maxsplit=1)[0], here.name, *LONG[name]]
    stopped(here, command, signal.SIGTERM, first=CAN_UNSHARE)
    newest = here.sql("select outcome, error from runs order by finished_at desc limit 1")
    assert newest == [("complete", None) if name == "verify" else ("failed", "interrupted")]


def test_sigterm_between_two_rounds(world: Begin) -> None:
    """A sync that waits for its next round ends at once, and its last row in `runs` is whole."""
    here = world(subject(NAMES[0]).filled())
    command = [sys.executable, "-m", "gapless.pipelines", "sync", here.name, "--every", "1h"]
    with warm.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
        while "next sync at" not in running.stderr.readline():
            assert running.poll() is None
        os.kill(running.pid, signal.SIGTERM)
        assert (running.wait(timeout=30), here.sql("select outcome from runs")) == (130, [("complete",)])


LOST = """
import sys, time
from gapless.pipelines.cli import streams
streams.end_on_sigterm()
class Ends:
    def __del__(self):
        import os, signal
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
try:
    Ends()
    time.sleep(20)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("shell", ["exec", "trap '' INT; exec"], ids=["usual", "in the background"])
def test_a_signal_that_python_ignores(shell: str) -> None:
    """It comes while an object is finalized, where no exception leaves; it ends the process all the same.

    Shells have SIGINT ignored by what they start in the background.
    """
    line = ["sh", "-c", f'{shell} "$0" -c "$1"', sys.executable, LOST]
    assert subprocess.run(line, timeout=15, check=False).returncode == 130
