"""One contender, once: a first sync into an empty folder, then one more after the vendor grew, each checked.

The vendor is a server in a process of its own; its counts are read after each sync. No table and no median here.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import checks
from tests.bench.contenders import Contender
from tests.bench.environments import HERE, ROOT
from tests.bench.measure import Cost, measure

FILE = "loaded.duckdb"  # not called like any dataset in it: DuckDB could not tell them apart
UNLIMITED = 1_000_000
OURS = ("SEQUENCE_", "OMNI_", "KIZEN_", "TINES_", "GAPLESS_", "DESTINATION__", "BENCH_", "SOURCES__")


@dataclass(frozen=True)
class Work:
    shape: str
    records: int
    new: int
    parents: int
    latency_ms: int = 0
    per_minute: int = 0
    """0: no limit."""


@dataclass(frozen=True)
class Sync:
    cost: Cost
    requests: int
    throttled: int
    least: int
    """The fewest requests that this sync needs."""
    verdict: str


@dataclass(frozen=True)
class Trial:
    contender: str
    first: Sync
    then: Sync


class Vendor:
    """The runner's end of a vendor: its address, and what only the runner may ask."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"

    def ask(self, what: str) -> dict[str, Any]:
        """`grow`, `shrink` or `counts`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", f"/bench/{what}")
        counts: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return counts


@contextmanager
def served(work: Work) -> Iterator[Vendor]:
    """A vendor with all its answers ready."""
    numbers = (work.records, work.new, work.parents, work.latency_ms, work.per_minute)
    command = [sys.executable, "-m", "tests.bench.server", work.shape, *map(str, numbers)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = server.stdout.readline()
        if not port:
            raise RuntimeError("the server did not start")
        try:
            yield Vendor(int(port))
        finally:
            server.stdin.close()


def trial(contender: Contender, interpreters: dict[str, Path], vendor: Vendor, work: Work) -> Trial:
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{contender.name}-"))
    env = environment(folder, vendor, work) | {name: str(path) for name, path in interpreters.items() if name}
    command = [interpreters[""], HERE / contender.script]
    try:
        syncs = [_sync(contender, command, folder, env, vendor, work, state) for state in ("shrink", "grow")]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Trial(contender.name, *syncs)


def _sync(
    contender: Contender,
    command: list[Path],
    folder: Path,
    env: dict[str, str],
    vendor: Vendor,
    work: Work,
    state: str,
) -> Sync:
    vendor.ask(state)
    cost = measure(command, folder=folder, env=env, output=folder / "output.txt")
    counts = vendor.ask("counts")
    if cost.exit_code:
        tail = (folder / "output.txt").read_text(errors="replace").strip().splitlines()[-5:]
        print(
            f"{contender.name} ended with {cost.exit_code}:",
            *(line[:500] for line in tail),
            sep="\n",
            file=sys.stderr,
        )
        verdict = f"failed: exit code {cost.exit_code}"
    else:
        verdict = checks.verdict(checks.loaded(folder / FILE, *contender.queries[work.shape]), counts["truth"])
    return Sync(cost, counts["requests"], counts["throttled"], counts["least"], verdict)


def environment(folder: Path, vendor: Vendor, work: Work) -> dict[str, str]:
    """This process's environment without a setting of ours, and with every working file inside `folder`."""
    (folder / "tmp").mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return inherited | {
        "BENCH_URL": vendor.url,
        "BENCH_SHAPE": work.shape,
        "BENCH_RATE": str(work.per_minute or UNLIMITED),
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "DLT_DATA_DIR": str(folder / "dlt"),
        # Nobody is told that a benchmark runs, and no registry of connectors is asked.
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
        "AIRBYTE_OFFLINE_MODE": "1",
    }
