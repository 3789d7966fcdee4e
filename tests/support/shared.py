"""What is dear and the same for every worker of one run: made by the first that asks for it, removed at the end.

The process that starts the run makes a folder and names it in the environment, which its workers inherit.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

FOLDER = "TESTS_SHARED_FOLDER"


def begin() -> None:
    """Makes the folder, unless this is a worker of a run that has one."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="gapless-tests-")
        Path(os.environ[FOLDER]).chmod(0o755)  # Postgres runs as somebody else


def once(name: str, make: Callable[[Path], Any]) -> Any:
    """What `make(folder)` returned, as JSON, to whoever came first; the others wait for it."""
    folder = Path(os.environ[FOLDER]) / name
    with FileLock(f"{folder}.lock"):
        if not (made := folder / "made.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # somebody tried, and failed
            folder.mkdir(parents=True)
            folder.chmod(0o755)
            made.write_text(json.dumps(make(folder)))
        return json.loads(made.read_text())


def end() -> None:
    """Stops what was started, by its number, and removes the folder."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    folder = Path(os.environ.pop(FOLDER))
    for made in folder.glob("*/made.json"):
        process = json.loads(made.read_text())
        if isinstance(process, dict) and (pid := process.get("pid")):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
                _wait(pid)
    shutil.rmtree(folder, ignore_errors=True)


def _wait(pid: int, seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # it is our child if the run has no workers
        os.kill(pid, 0)
        time.sleep(0.02)
