"""Keeps trials in a file, so that a sweep goes on where it was stopped, another day or beside other work."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from tests.lab.faultlab.http_faults import Tried
from tests.lab.faultlab.kills import Killed
from tests.lab.faultlab.report import Sweep
from tests.lab.faultlab.together import Crowded
from tests.lab.faultlab.wire_faults import Broken

Trial = Killed | Tried | Broken | Crowded
ROOT = Path(__file__).resolve().parents[3]


class Kept:
    """The trials of all runs with one file; with None of one run, and nothing is written."""

    def __init__(self, file: Path | None) -> None:
        self._file, self._lock = file, Lock()

    def begin(self, sweep: Sweep) -> None:
        """Takes the trials that are kept into `sweep`, and notes that another run begins."""
        if self._file is None:
            return
        lists = {Killed: sweep.kills, Tried: sweep.tried, Broken: sweep.broken, Crowded: sweep.together}
        for one in _read(self._file):
            if isinstance(one, str):
                sweep.runs.append(one)
            else:
                lists[type(one)].append(one)
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        sweep.runs.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M} at {found.stdout.strip() or 'an unknown commit'}")
        self._write(sweep.runs[-1])

    def add(self, trial: Trial) -> None:
        """Keeps a trial that has ended."""
        if self._file is not None:
            self._write(trial)

    def _write(self, one: Trial | str) -> None:
        assert self._file
        with self._lock, self._file.open("ab") as kept:
            kept.write(pickle.dumps(one))


def _read(file: Path) -> Iterator[Trial | str]:
    if not file.exists():
        return
    with file.open("rb") as kept:
        while True:
            try:
                yield pickle.load(kept)
            except EOFError:
                return
