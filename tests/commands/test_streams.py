"""What a command says never stops what it does: closed, full and dead streams, and SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import httpx2 as httpx
import pytest

from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import LET_THROUGH, World, some

Begin = Callable[[Any], World]
BROKEN = ("2>/dev/full", "2>&-", ">/dev/full", ">&-", "2>&1 | head -c 0", "<&- >&- 2>&-")


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


def test_sigterm_is_ctrl_c(world: Begin) -> None:
    """Exit 130 and a row in `runs`, in the middle of a request; the next sync goes on."""
    here = world(subject(NAMES[0]).filled())
    command = [sys.executable, "-m", "gapless.pipelines", "sync", here.name]
    running: list[subprocess.Popen[str]] = []

    def stop(request: httpx.Request) -> httpx.Response | None:
        if here.asked() == 3:
            os.kill(running[0].pid, signal.SIGTERM)
        return LET_THROUGH

    here.intercept = stop
    running.append(warm.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    said = running[0].communicate(timeout=60)[1]
    assert (running[0].returncode, "Stopped." in said) == (130, True), said
    assert here.sql("select outcome, error from runs") == [("failed", "interrupted")]
    here.mend()
    here.complete()
    here.assert_exact()
