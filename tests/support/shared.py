"""What is dear and the same for every worker of one run: made by the first that asks for it, removed at the end.

The process that starts the run makes a folder and names it in the environment, which its workers inherit. All
temporary files of the run lie there, too: nothing stays, and no lock is shared with somebody else on the machine.
To look at what a failed test leaves: `--basetemp`.
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
PREFIX, OWNER = "gapless-tests-", "owner"
_BEFORE: dict[str, str | None] = {}


def begin() -> None:
    """Makes the folder, unless this is a worker of a run that has one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):  # by runs that were killed
        with suppress(FileNotFoundError):  # somebody else removes it
            if not Path("/proc", left.read_text()).exists():
                _remove(left.parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)  # Postgres runs as somebody else
    (folder / OWNER).write_text(str(os.getpid()))
    os.environ[FOLDER] = str(folder)
    temporary = folder / "tmp"
    temporary.mkdir(mode=0o1777)
    temporary.chmod(0o1777)  # the umask took a part
    _BEFORE["TMPDIR"], os.environ["TMPDIR"] = os.environ.get("TMPDIR"), str(temporary)
    tempfile.tempdir = None


def owner() -> int:
    """Returns the number of the process that started the run."""
    return int(Path(os.environ[FOLDER], OWNER).read_text())


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
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _remove(Path(os.environ.pop(FOLDER)))
        del os.environ["TMPDIR"]
        os.environ.update({name: value for name, value in _BEFORE.items() if value is not None})
        tempfile.tempdir = None


def _remove(folder: Path) -> None:
    for made in folder.glob("*/made.json"):
        process = json.loads(made.read_text())
        if isinstance(process, dict) and _works_in(made.parent, pid := process.get("pid", 0)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
                _wait(pid)
    shutil.rmtree(folder, ignore_errors=True)


def _works_in(folder: Path, pid: int) -> bool:
    """Whether there is such a process and it is ours: its number may have become somebody else's."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(folder)
    except OSError:
        return False


def _wait(pid: int, seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # it is our child if the run has no workers
        os.kill(pid, 0)
        time.sleep(0.02)
