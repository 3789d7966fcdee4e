"""Python processes without the second of imports: `Popen` and `run` as in `subprocess`, forked from a warm process.

For tests that see `gapless` as a black box. What a process alone can show (that `--help` imports little, that the
installed program starts) is run in a true one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.shared import once, owner

ROOT = Path(__file__).resolve().parents[2]
OF_A_TEST = {"GAPLESS_SOURCES", "DLT_PROJECT_DIR"}
"""Settings that name sources."""


class Popen(subprocess.Popen[str]):
    """`[sys.executable, "-m" or "-c", …]` as text; `pid` is the forked child's."""

    def __init__(self, command: list[str], **how: Any) -> None:
        assert command[0] == sys.executable
        super().__init__(command, text=True, **how)

    def _execute_child(self, args: list[str], *how: Any) -> None:
        """In place of fork and exec: `how` is what subprocess worked out, the ends of its pipes among it."""
        (folder, environment), pipes = how[4:6], how[9:15]
        order = {
            "arguments": args[1:],
            "folder": str(folder or Path.cwd()),
            "environment": dict(os.environ if environment is None else environment),
        }
        theirs = [pipes[0], pipes[3], pipes[5]]
        streams = [number if pipe == -1 else pipe for number, pipe in enumerate(theirs)]
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(_server())
        socket.send_fds(self._line, [b" "], streams)
        self._line.sendall(json.dumps(order).encode() + b"\n")
        self._close_pipe_fds(*pipes)  # the child's ends of what was made for it, and no file of the caller's
        self.pid = int(b"".join(iter(lambda: self._line.recv(1), b"\n")))  # and not a byte of what comes later
        self._child_created = True

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """As `os.waitpid`: the child is the warm process's, which tells its status."""
        self._line.setblocking(not wait_flags & os.WNOHANG)
        try:
            status = self._line.recv(64)
        except BlockingIOError:
            return 0, 0
        self._line.close()
        return self.pid, int(status)

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def run(
    command: list[str], *, input: str | None = None, timeout: float = 60, check: bool = False, **how: Any
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run(…, capture_output=True, text=True)`; without `input` it reads nothing."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.PIPE}
    with Popen(command, **{**pipes, **how}) as process:
        try:
            out, err = process.communicate(input or "", timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


@cache
def _server() -> str:
    """Returns the address of the warm process of all workers, which ends with the run."""
    return str(once("warm", _started)["address"])


def _started(folder: Path) -> dict[str, Any]:
    """Starts it by no Popen, which would have to be waited for by whoever happened to be the first."""
    address, log = f"{folder}/socket", folder / "log"
    # It outlives the test that starts it, whose settings are not those of the others.
    neutral = {name: value for name, value in os.environ.items() if name not in OF_A_TEST}
    paths = [str(ROOT), str(ROOT / ".ci" / "import")]
    ready, theirs = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "tests.support.warm_server", address, str(owner())],
        {**neutral, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, theirs, 1),
            (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT, 0o644),
        ],
        setsid=True,
    )
    os.close(theirs)
    with open(ready) as line:
        assert line.read() == "ready\n", log.read_text()
    return {"address": address, "pid": pid}
