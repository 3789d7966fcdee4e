"""What one command costs: wall and CPU seconds, peak memory of its process tree. Nothing about contenders may enter.

CPU and the largest process come from the kernel when the command ends (wait4), descendants included. The sum over
processes that live side by side (a pipe) is sampled from /proc, where there is one. This process has to stay small:
Linux counts the memory of whoever starts a command as the command's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE = 0.05  # seconds
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


@dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    """User and system, of the command and all it waited for."""
    peak_mb: float
    """The largest process, or the sum of those side by side when that is more."""
    processes: int
    """As many as the peak is the sum of."""
    exit_code: int


def measure(command: Sequence[str | Path], *, folder: Path, env: Mapping[str, str], output: Path) -> Cost:
    """Run `command` in `folder`; what it prints goes to the file `output`."""
    with output.open("wb") as printed:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env=dict(env), stdout=printed, stderr=subprocess.STDOUT
        )
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.ended.set()
        watch.join()
    largest = usage.ru_maxrss * UNIT
    peak, processes = max((largest, 1), (watch.peak, watch.processes))
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak / 2**20, processes, process.returncode)


class _Watch(threading.Thread):
    """Samples the tree below a process: the most bytes at one time, and in how many processes.

    Only what two samples in a row have seen counts: a fork that is about to become another program is its parent's
    memory once more, for a moment.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.peak, self.processes = 0, 1
        self._pid = pid

    def run(self) -> None:
        before = (0, 0)
        while not self.ended.wait(SAMPLE):
            sizes = [size for pid in tree(self._pid) if (size := resident(pid))]
            now = (sum(sizes), len(sizes))
            self.peak, self.processes = max((self.peak, self.processes), min(before, now))
            before = now


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended, or there is no /proc
        return [pid]
    return [pid, *(below for child in children for below in tree(child))]


def resident(pid: int) -> int:
    """Bytes in memory; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
