"""Prism (npm, Stoplight) with Sequence's own OpenAPI: as a proxy that validates both directions, and as a mock.

The vendor's two pages stand in samples/sequence as they are. To make one valid document of them it takes: the two
paths together; the `/api` that every example on the pages has and their servers lack; no empty list of servers per
path, no server twice; and no `example` inside a `schema` beside a `$ref`, nor an empty `content`, both of which
OpenAPI 3.0 does not know.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

PACKAGE, VERSION = "@stoplight/prism-cli", "5.16.0"
SAMPLES = Path(__file__).parent.parent / "samples" / "sequence"
PAGES = ("list_activity_logs.openapi.yaml", "get_activity_log.openapi.yaml")


def document(server: str) -> dict[str, Any]:
    """Both pages as one OpenAPI document."""
    first, second = (yaml.safe_load((SAMPLES / page).read_text()) for page in PAGES)
    paths = {f"/api{path}": item for path, item in (first["paths"] | second["paths"]).items()}
    for item in paths.values():
        del item["servers"]
        for answer in item["get"]["responses"].values():
            if not answer["content"]:
                del answer["content"]
            for media in answer.get("content", {}).values():
                del media["schema"]["example"]
    return {**first, "servers": [{"url": server}], "paths": paths}


@contextmanager
def prism(mode: str, upstream: str, *options: str) -> Iterator[str]:
    """The base URL of a `proxy` to `upstream`, or of a `mock`."""
    with tempfile.TemporaryDirectory(prefix="gapless-prism-") as name:
        folder, port = Path(name), _free_port()
        (folder / "sequence.json").write_text(json.dumps(document(upstream)))
        where = ["-h", "127.0.0.1", "-p", str(port), "sequence.json", *([upstream] if mode == "proxy" else [])]
        with (folder / "log").open("wb") as log:
            command = [_installed(), mode, *options, *where]
            running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=_environment())
            try:
                _wait(running, port, folder / "log")
                yield f"http://127.0.0.1:{port}"
            finally:
                running.terminate()
                running.wait(10)


def _installed() -> str:
    """Prism's program; put by npm into a cache outside the checkout when it is not there yet."""
    cache = cache_of(f"prism-{VERSION}")
    program = cache / "node_modules" / ".bin" / "prism"
    with FileLock(cache / "lock"):
        _install(cache, program)
    return str(program)


def cache_of(name: str) -> Path:
    """Returns a folder outside the checkout for a program that others wrote."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gapless-peers" / name
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _install(cache: Path, program: Path) -> None:
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.fail("Prism needs Node.js and npm (Debian: apt-get install nodejs npm)", pytrace=False)
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(cache)]
        done = subprocess.run([*command, f"{PACKAGE}@{VERSION}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "NO_COLOR": "1"}


def _wait(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def _free_port() -> int:
    with closing(socket.socket()) as here:
        here.bind(("127.0.0.1", 0))
        return int(here.getsockname()[1])
