"""A warm process that forks a child for every run: `gapless` without the second of imports.

What a first sync builds besides (models, settings, dialects) costs as much as the rest of it, so the first runs of
each source are made `here`, without a fork, and every later child begins with what they left.

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
import shutil
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
from gapless.pipelines.views import refresh
from gapless.sources import SOURCES
from gapless.sources._http import client, retry
from gapless.sources._http.connection import connect
from tests.lab.faultlab import plain_dlt
from tests.lab.faultlab.killswitch import Killswitch

LIMIT = 60.0
"""Seconds that one run may compute, and that it may wait; then it hangs. Waiting for a free core does not count."""
LOOK = 0.1
"""Seconds between two looks at what a run is doing."""

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
    if order.get("here"):
        return _here(order)
    if threading.active_count() > 1 or _native() > IDLE:
        raise RuntimeError(f"the zygote has threads of its own, so a fork is not safe: {threading.enumerate()}")
    began, spent = time.monotonic(), _spent()
    child = os.fork()
    if not child:
        _child(order)
    stopped: list[float] = []
    status = _wait(child, order.get("limit", LIMIT), order["folder"], stopped)
    return {"code": status, "seconds": time.monotonic() - began, "cpu": _spent() - spent, "stopped": stopped}


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _native() -> int:
    return len(os.listdir("/proc/self/task"))


def _here(order: dict[str, Any]) -> dict[str, Any]:
    """Runs in this process, and takes back what is not to be seen by the next run."""
    began, environment, streams = time.monotonic(), dict(os.environ), [os.dup(1), os.dup(2)]
    try:
        _begin(order)
        code = _cli(order["args"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, stream in enumerate(streams, 1):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir("/")
        os.environ.clear()
        os.environ.update(environment)
        gc.collect()
        gc.freeze()
    return {"code": code, "seconds": time.monotonic() - began, "cpu": 0.0, "stopped": []}


def _wait(child: int, limit: float, folder: str, stopped: list[float]) -> int | str:
    """The exit code, negative for a signal; "hang" when it had to be ended.

    Whenever the child stops, its folder is copied as kill -9 would leave it now, and the time noted in `stopped`.
    """
    began = looked = time.monotonic()
    waited, pause = 0.0, 0.001
    while waited < limit and _computed(child) < limit:
        done, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if done and os.WIFSTOPPED(status):
            shutil.copytree(folder, f"{folder}-at-{len(stopped)}", symlinks=True)
            stopped.append(time.monotonic())
            os.kill(child, signal.SIGCONT)
        elif done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(pause * 1.2, 0.02)
        if (now := time.monotonic()) - looked > LOOK:
            waited += (now - looked) * _waits(child)
            looked = now
    print(f"hang: {waited:.1f} s waited, {_computed(child):.1f} s computed, {looked - began:.1f} s", file=sys.stderr)
    os.kill(child, signal.SIGKILL)  # nobody has waited for it yet, so the number is still its own
    os.waitpid(child, 0)
    return "hang"


def _computed(child: int) -> float:
    """Seconds of CPU that the child has had."""
    user, system = _stat(f"/proc/{child}/stat")[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _waits(child: int) -> bool:
    """Whether no thread of the child computes, or would if there were a free core, or waits for the disk."""
    states = {_stat(f"/proc/{child}/task/{task}/stat")[0] for task in os.listdir(f"/proc/{child}/task")}
    return not states & {"R", "D"}


def _stat(file: str) -> list[str]:
    try:
        with open(file) as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:  # a thread that has just ended
        return ["S"]


def _child(order: dict[str, Any]) -> None:
    """Never returns."""
    code = 70
    try:
        gc.disable()  # short-lived, and touching every object would copy every page
        _begin(order)
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


def _begin(order: dict[str, Any]) -> None:
    os.chdir(order["folder"])
    os.environ.update(order["env"])
    tempfile.tempdir = None
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{order['output']}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    _patch(**order["patch"])


def _cli(args: list[str]) -> int:
    try:
        app(args)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _patch(package_records: int, deadline: float, read: float, first_wait: float, described: bool = True) -> None:
    if not described:
        refresh.is_described = lambda *_: True  # so that nobody spends a fifth of a second on comments
    real = gapless.pipelines.cli.arguments.sync_request
    gapless.pipelines.cli.arguments.sync_request = lambda *args: replace(real(*args), package_records=package_records)
    client.Client.__init__.__kwdefaults__["deadline"] = deadline
    connect.READ_SECONDS = read
    client.Policy = lambda **how: retry.Policy(**how, first_wait=first_wait)  # type: ignore[misc,assignment]  # for a class


if __name__ == "__main__":
    main()
