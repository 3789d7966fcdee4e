"""Nobody but the vendor is spoken to: dlt sends usage data to its makers unless it is told not to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gapless.pipelines.config import DLT_SETTINGS
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

WATCHED = """
import socket, sys

def getaddrinfo(host, *rest, real=socket.getaddrinfo, **more):
    if host not in ("127.0.0.1", b"127.0.0.1", "localhost"):
        print("ASKED FOR", host, flush=True)
        raise socket.gaierror("no way")
    return real(host, *rest, **more)

socket.getaddrinfo = getaddrinfo
from gapless.pipelines.cli.app import app
app(["sync", sys.argv[1]])
"""


@pytest.mark.parametrize("on", [False, pytest.param(True, marks=pytest.mark.sweep)])
def test_no_usage_data(on: bool, world: Callable[[Any], World], monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole sync asks for no name but the vendor's, and for dlt's when somebody switched its telemetry on."""
    here = world(subject(NAMES[0]).filled())
    for name in DLT_SETTINGS:
        monkeypatch.delenv(name)
    if on:
        monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "true")
    done = warm.run([sys.executable, "-c", WATCHED, here.name], env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert ("ASKED FOR" in done.stdout) is on, done.stdout
