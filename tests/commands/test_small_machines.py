"""Little memory and few threads: a clear end with what to raise or to lower, and the next sync is exact."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import duckdb
import pyarrow
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.destinations import duckdb_file
from gapless.pipelines.errors import explain, next_step
from gapless.pipelines.shortage import MEMORY, THREADS
from gapless.sources import SOURCES
from gapless.sources._incremental.concurrency import map_concurrently
from tests.commands.test_settings import gapless
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support.world import World, some

Begin = Callable[[Any], World]
NO_THREAD = "can't start new thread"


def allow(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may start so many more threads; those of the vendor beside it do not count."""
    start, left = threading.Thread.start, iter(range(threads))

    def start_or_not(self: threading.Thread) -> None:
        if "process_request" not in str(getattr(self, "_target", "")) and next(left, None) is None:
            raise RuntimeError(NO_THREAD)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "threads"), some([(name, n) for name in SOURCES for n in range(9)], (NAMES[0], 0)))
def test_few_threads(name: str, threads: int, world: Begin) -> None:
    """Whatever could not be started any more: it is said with what ends it, or the sync is complete without it."""
    here = world(subject(name).filled()).alone()
    with pytest.MonkeyPatch.context() as limited:
        allow(threads, limited)
        code, told = gapless("sync", name)
    assert (code, THREADS.partition(" (")[0] in told, "not expected" in told) in [(1, True, False), (0, False, False)]
    assert code == 1 or threads
    here.complete()
    here.assert_exact()


def test_fewer_threads_than_workers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Those that run read all parents, and it is said that more would be faster."""
    allow(2, monkeypatch)
    found = [*map_concurrently(range(20), lambda parent: [parent], 8, lambda: None)]
    assert sorted(one.page for one in found if one.page is not None) == [*range(20)]
    assert caplog.messages == ["only 2 of 8 threads can be started: more would read faster"]


FATAL = "FATAL Error: Failed to create checkpoint because of error: Failed to allocate block of 262144 bytes"
ERRORS: list[tuple[BaseException, str]] = [
    (MemoryError(), MEMORY),
    (pyarrow.ArrowMemoryError("malloc of size 64 failed"), MEMORY),
    (duckdb.OutOfMemoryException("Out of Memory Error: Allocation failure"), MEMORY),
    (duckdb.FatalException(f"{FATAL} (bad allocation)"), MEMORY),
    (ImportError("x.so: failed to map segment from shared object"), MEMORY),
    (OSError(12, "Cannot allocate memory"), MEMORY),
    (RuntimeError(NO_THREAD), THREADS),
    (BlockingIOError(11, "Resource temporarily unavailable"), THREADS),
]


@pytest.mark.parametrize(("error", "said"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_libraries_words(error: BaseException, said: str) -> None:
    """However a library says it, and whatever dlt wraps it in."""
    wrapped = ValueError("the load failed")
    wrapped.__cause__ = error
    assert (explain(wrapped), next_step(wrapped)) == (said, said.partition(". ")[2])


def test_other_errors_are_not_taken_for_it() -> None:
    """As a record's text may say such words."""
    for error in (ValueError("out of memory"), duckdb.BinderException("no column"), RuntimeError("bad state")):
        assert "ulimit" not in explain(error)
        assert next_step(error) is None


@pytest.mark.slow
def test_no_memory_for_the_last_checkpoint(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed is in the file's log: the command fails in words, and the next sync has it all."""
    here = world(subject(NAMES[0]).filled()).alone()

    def fail(_: object) -> None:
        raise duckdb.FatalException(f"{FATAL} (bad allocation)")

    with pytest.MonkeyPatch.context() as limited:
        limited.setattr(duckdb_file, "checkpoint", fail)
        code, told = gapless("sync", here.name)
    assert (code, MEMORY in told, "not expected" in told) == (1, True, False), told
    here.complete()
    here.assert_exact()


LIMITED = """
import resource, sys
from gapless.pipelines.cli import app, progress
start, megabytes = progress._Plain.start, int(sys.argv.pop())
def limit(self, *given):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
    start(self, *given)
progress._Plain.start = limit
sys.argv[1:1] = ["sync"]
app.main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux'")
@pytest.mark.parametrize("megabytes", some([3, 20, 50, 80, 110, 150, 200, 300, 400], 3))
def test_little_memory(megabytes: int, world: Begin) -> None:
    """For real: a library may crash or wait for ever then, but the next sync is exact."""
    here = world(subject(NAMES[0]).filled()).alone()
    command = [sys.executable, "-c", LIMITED, here.name, str(megabytes)]
    with suppress(subprocess.TimeoutExpired):
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)
        assert ended.returncode <= 1, ended.stderr
        if ended.returncode == 1:
            assert "as this process is at its limit" in ended.stderr, ended.stderr
    here.complete()
    here.assert_exact()


@pytest.mark.slow
def test_the_doctor_and_others_say_it(world: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that cannot open the database for want of memory."""
    here = world(subject(NAMES[0]).filled()).alone()
    here.synced()

    def fail(*_: object, **__: object) -> None:
        raise duckdb.OutOfMemoryException("Out of Memory Error: Allocation failure")

    monkeypatch.setattr(duckdb_file, "connect", fail)
    for command in ("status", "doctor", "gaps", "sync"):
        ended = CliRunner().invoke(app, [command])
        told = " ".join(ended.output.split())
        assert (ended.exit_code, "there was no memory left" in told) == (1, True), told
