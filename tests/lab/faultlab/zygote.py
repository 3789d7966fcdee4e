"""A process that has everything imported and forks a child for every run: `gapless` without the second of imports.

Orders come as JSON lines on stdin, answers go as JSON lines to stdout. The child calls what the console script calls,
`gapless.pipelines.cli.app:app` with arguments, in a folder, with an environment and
nothing else of ours but what `patch` says:
PACKAGE_RECORDS, the client's deadline and its first wait have no setting, so they are set here.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import replace
from typing import Any

import duckdb  # noqa: F401 - imported once here, so that no child pays for it

import gapless.pipelines.cli.arguments
import gapless.pipelines.cli.progress
import gapless.pipelines.sync.run
from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES
from gapless.sources._http import client, retry
from gapless.sources._http.connection import connect
from tests.lab.faultlab import plain_dlt
from tests.lab.faultlab.killswitch import Killswitch

LIMIT = 60.0
"""Seconds of one run; then it hangs."""

IDLE = 3
"""Native threads that imports alone leave behind, idle: this one, DuckDB's for a connection that nobody opens, and
the allocator's of Arrow. A fork loses the latter two, and every sync makes new ones."""


def main() -> None:
    _import()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    print("ready", file=answers)
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), file=answers)


def _import() -> None:
    """What a sync imports only when it comes to it, so that no child has to; opens nothing, starts nothing."""
    for source in SOURCES.values():
        source.build  # noqa: B018 - looking it up imports it
    gc.freeze()


def _run(order: dict[str, Any]) -> dict[str, Any]:
    if threading.active_count() > 1 or _native() > IDLE:
        raise RuntimeError("the zygote has threads of its own, so a fork is not safe")
    began, spent = time.monotonic(), _spent()
    child = os.fork()
    if not child:
        _child(order)
    status = _wait(child, order.get("limit", LIMIT))
    return {"code": status, "seconds": time.monotonic() - began, "cpu": _spent() - spent}


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _native() -> int:
    return len(os.listdir("/proc/self/task"))


def _wait(child: int, limit: float) -> int | str:
    """The exit code, negative for a signal; "hang" when it had to be ended."""
    ends, pause = time.monotonic() + limit, 0.001
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(pause * 1.2, 0.02)
    os.kill(child, signal.SIGKILL)  # nobody has waited for it yet, so the number is still its own
    os.waitpid(child, 0)
    return "hang"


def _child(order: dict[str, Any]) -> None:
    """Never returns."""
    code = 70
    try:
        gc.disable()  # short-lived, and touching every object would copy every page
        os.chdir(order["folder"])
        os.environ.update(order["env"])
        tempfile.tempdir = None
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(f"{order['output']}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        _patch(**order["patch"])
        if order.get("switch"):
            log = os.open(f"{order['output']}.switch", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            Killswitch(log, **order["switch"]).arm()
        code = plain_dlt.sync(*order["plain"]) if "plain" in order else _cli(order["args"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _cli(args: list[str]) -> int:
    try:
        app(args)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _patch(package_records: int, deadline: float, read: float, first_wait: float) -> None:
    real = gapless.pipelines.cli.arguments.sync_request
    gapless.pipelines.cli.arguments.sync_request = lambda *args: replace(real(*args), package_records=package_records)
    client.Client.__init__.__kwdefaults__["deadline"] = deadline
    connect.READ_SECONDS = read
    client.Policy = lambda **how: retry.Policy(**how, first_wait=first_wait)  # type: ignore[misc,assignment]  # for a class


if __name__ == "__main__":
    main()
