"""The process that has everything imported and forks a child for each run of Python that `warm.py` asks for.

One connection is one run: it brings the child's three standard streams and JSON (arguments, folder, environment);
back come the child's number, then its wait status. When the connection ends early, the child is killed.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from importlib import import_module
from types import ModuleType
from typing import Any

from gapless import sources
from gapless.sources.register import configured_packages, register
from tests.support import remembered

IMPORTED = (
    "duckdb", "psycopg2", "dlt.destinations.impl.duckdb.duck", "dlt.sources.helpers.requests", "dlt._workspace",
    "gapless.pipelines.cli.app", "gapless.pipelines.sync.run", "gapless.pipelines.destinations.target",
    "gapless.pipelines.ledger.gaps", "gapless.pipelines.ledger.status", "gapless.pipelines.verify.verify",
    "gapless.pipelines.views.refresh", "pyarrow.parquet", "pendulum.locales.en.locale",
)  # fmt: skip
"""What a sync or a question comes to import."""
IDLE = 3
"""Native threads that imports alone leave behind, idle: this one, DuckDB's for a connection that nobody opens, and
the allocator's of Arrow. A fork loses the latter two, and every sync makes new ones."""


def main(path: str, owner: int) -> None:
    """Serves until the process `owner` ends, or SIGQUIT comes."""
    os.chdir(os.path.dirname(path))
    _import()
    signal.signal(signal.SIGQUIT, lambda *_: os._exit(0))  # and leaves no core
    end = os.pidfd_open(owner)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(path)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(end, selectors.EVENT_READ)
        print("ready", flush=True)
        os.dup2(0, 1)  # nothing more is said
        while True:
            for key, _ in selector.select():
                if key.fileobj == end:
                    return
                if key.fileobj is listener:
                    _begin(listener.accept()[0], selector)
                else:
                    key.data(selector)


def _import() -> None:
    """What a sync imports only when it comes to it, so that no child has to; opens nothing, starts nothing."""
    for name in IMPORTED:
        import_module(name)
    for source in sources.SOURCES.values():
        source.build  # noqa: B018 - looking it up imports it
    remembered.begin()
    gc.freeze()


def _register() -> None:
    """Reads the settings of the child, which may name more sources than the process from which it was forked."""
    found, sources._PROBLEMS = register([*sources.OUR_PACKAGES, *configured_packages()])
    if found != sources.SOURCES:
        sources.SOURCES.update(found)
        for name in [name for name in sys.modules if name.startswith("gapless.pipelines")]:
            del sys.modules[name]  # made help texts and options of the register when it was imported


class _Run:
    """One child and who waits for it."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self._connection, self._pid, self._end = connection, pid, os.pidfd_open(pid)

    def ended(self, selector: selectors.BaseSelector) -> None:
        _, status = os.waitpid(self._pid, 0)
        for file in (self._end, self._connection):
            selector.unregister(file)
        os.close(self._end)
        with self._connection as connection:
            try:
                connection.sendall(f"{status}\n".encode())
            except OSError:
                return  # nobody wants to know

    def hung_up(self, selector: selectors.BaseSelector) -> None:
        os.kill(self._pid, signal.SIGKILL)  # nobody has waited for it yet, so the number is still its own
        self.ended(selector)

    def watch(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._end, selectors.EVENT_READ, self.ended)
        selector.register(self._connection, selectors.EVENT_READ, self.hung_up)


def _begin(connection: socket.socket, selector: selectors.BaseSelector) -> None:
    if threading.active_count() > 1 or len(os.listdir("/proc/self/task")) > IDLE:
        raise RuntimeError("the warm process has threads of its own, so a fork is not safe")
    text, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 16)
    pid = os.fork()
    if not pid:
        _child(json.loads(text), streams)
    for stream in streams:
        os.close(stream)
    connection.sendall(f"{pid}\n".encode())
    _Run(connection, pid).watch(selector)


def _child(order: dict[str, Any], streams: list[int]) -> None:
    """Runs what the order says as a Python process of its own would; never returns."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 1024)
        faulthandler.enable()  # a crash in native code says where on the child's stderr
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        time.tzset()
        # A shell's background job ignores it, and so do all that it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        _register()
        tempfile.tempdir = None
        gc.disable()  # short-lived, and touching every object would copy every page
        sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        code = _python(*order["arguments"])
        threading._shutdown()  # type: ignore[attr-defined] # what the interpreter does at its end: waits for threads
        atexit._run_exitfuncs()  # and calls whoever wants to tidy up
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:
                code = code or 120
        os._exit(code)


def _python(option: str, what: str, *arguments: str) -> int:
    """`python -m module …` or `python -c script …`; the exit code."""
    sys.argv, sys.path[0] = [option, *arguments], ""
    try:
        if option == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            own = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), vars(own))
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
    return 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
