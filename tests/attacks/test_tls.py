"""A server that cannot prove that it is the vendor's gets no request, and so no key."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES
from gapless.sources._http.environment.certificates import FILE, FOLDER
from tests.attacks.certificates import certificate
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support.world import World

Begin = Callable[[Any], World]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of `localhost`, of another name, and of `localhost` by somebody else."""
    folder = tmp_path_factory.mktemp("certificates")
    hosts = {"ours": "localhost", "another name": "vendor.invalid", "a stranger": "localhost"}
    return {who: certificate(folder, who, host) for who, host in hosts.items()}


def speaks_old(context: ssl.SSLContext) -> None:
    """Has it speak TLS 1.1 and nothing newer."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1


@contextmanager
def vendor(file: Path, old: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Yields the address of an https server with this certificate, and the headers that it was sent."""
    sent: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(str(self.headers))
            self.send_response(401)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Says nothing of a client that leaves."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if old:
        speaks_old(context)
    with Quiet(("127.0.0.1", 0), Noting) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"https://localhost:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def synced(address: str, trusted: Path, here: World) -> str:
    """Syncs from there with this one authority; returns what is said."""
    here.set(**{f"{here.name.upper()}_BASE_URL": address, FILE: str(trusted), FOLDER: ""})
    ended = CliRunner().invoke(app, ["sync", here.name])
    assert ended.exit_code == 1, ended.output
    return ended.output


@pytest.mark.parametrize("who", ["a stranger", "another name"])
def test_a_stranger_gets_no_key(who: str, certificates: dict[str, Path], world: Begin) -> None:
    """Signed by somebody whom we do not trust, or for another host: it is sent nothing, and that is said."""
    trusted = certificates["ours" if who == "a stranger" else who]
    with vendor(certificates[who]) as (address, sent):
        said = synced(address, trusted, world(subject(NAMES[0]).empty()))
    assert (sent, "certificate" in said) == ([], True), said


def test_an_old_protocol_gets_no_key(certificates: dict[str, Path], world: Begin) -> None:
    """TLS 1.1, which can be broken, is not spoken."""
    with vendor(certificates["ours"], old=True) as (address, sent):
        synced(address, certificates["ours"], world(subject(NAMES[0]).empty()))
        willing = ssl.create_default_context(cafile=certificates["ours"])
        speaks_old(willing)
        port = int(address.rsplit(":", maxsplit=1)[1])
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            willing.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            assert encrypted.version() == "TLSv1.1", "the server is there for those who speak it"
    assert sent == []


def test_the_vendor_gets_it(certificates: dict[str, Path], world: Begin) -> None:
    """The twin: who proves who he is."""
    with vendor(certificates["ours"]) as (address, sent):
        synced(address, certificates["ours"], world(subject(NAMES[0]).empty()))
    (key, *_) = (need.upper() for need in SOURCES[NAMES[0]].needs)
    assert [headers for headers in sent if os.environ[key] in headers]
