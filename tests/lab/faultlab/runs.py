"""One run of the command, in a process forked by the zygote; this is the near end of zygote.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gapless.pipelines.config import DLT_SETTINGS
from gapless.sources import SOURCES

ROOT = Path(__file__).resolve().parents[3]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / ".ci" / "import")])
"""This checkout, whichever one is installed."""


@dataclass
class Run:
    """What came of one run of the command."""

    code: int | str
    """Exit code; negative: killed by that signal; "hang": ended at its limit, see zygote.py."""
    seconds: float
    cpu: float
    requests: int
    output: str
    stopped: list[float] = field(default_factory=list)
    """When (time.monotonic) it stood still, and its folder was copied."""


class Zygote:
    """The process that forks the runs; see zygote.py."""

    def __init__(self) -> None:
        self.warm: set[str] = set()
        """Sources of which it has made a run itself."""
        ours = (*(f"{name.upper()}_" for name in SOURCES), "GAPLESS_", "DESTINATION__", "DLT_", "SOURCES__")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.faultlab.zygote"],
            cwd=ROOT,
            env={**clean, **DLT_SETTINGS, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read())
        return answer

    def end(self) -> None:
        with self._process:
            assert self._process.stdin
            self._process.stdin.close()

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the zygote has died")
        return line
