"""Somebody who answers in place of the Postgres server gets no password, if the address is as the pages show it."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from tests.attacks.certificates import certificate

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "pipelines" / "docs").glob("*.md"))]
SETTING = "DESTINATION__POSTGRES__CREDENTIALS"
PASSWORD = "canary-plum"
HOST_WITH_PASSWORD = re.compile(r"postgresql://[^\s:/'`]+:[^\s@'`]+@[^\s/'`]+/[^\s'`]*")


def shown() -> list[tuple[str, str]]:
    """Every page and the addresses with a password on it."""
    return [(page.name, url) for page in PAGES for url in HOST_WITH_PASSWORD.findall(page.read_text())]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of `localhost`, of another name, and of `localhost` by somebody else: each in a file with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    hosts = {"ours": "localhost", "another name": "db.invalid", "a stranger": "localhost"}
    return {who: certificate(folder, who, host) for who, host in hosts.items()}


@contextmanager
def stranger(certificate: Path | None) -> Iterator[tuple[int, list[str]]]:
    """Yields the port of a server that asks whoever comes for the password in clear, and what it was given.

    Without a certificate it says that it cannot encrypt.
    """
    given: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener is closed: the end
                while True:
                    client, _ = listener.accept()
                    with client, suppress(OSError, struct.error):
                        client.settimeout(5)
                        given.extend(_asked_for_password(client, certificate))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], given
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def _asked_for_password(client: socket.socket, certificate: Path | None) -> list[str]:
    """Speaks the server's part of Postgres' protocol 3.0 up to the password; returns it, in a list."""
    size, code = struct.unpack("!II", client.recv(8))
    if code == SSL_REQUEST and certificate:
        client.sendall(b"S")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with context.wrap_socket(client, server_side=True) as encrypted:
            return _asked_for_password(encrypted, None)
    if code in (SSL_REQUEST, GSS_REQUEST):
        client.sendall(b"N")
        return _asked_for_password(client, certificate)
    client.recv(size - 8)
    client.sendall(b"R" + struct.pack("!II", 8, 3))  # AuthenticationCleartextPassword
    kind, size = struct.unpack("!cI", client.recv(5))
    return [client.recv(size - 4).rstrip(b"\0").decode()] if kind == b"p" else []


SSL_REQUEST, GSS_REQUEST = 80877103, 80877104


def given_to(certificate: Path | None, query: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """Returns which passwords arrive there from `gapless status`, and what it says."""
    with stranger(certificate) as (port, given):
        monkeypatch.setenv(SETTING, f"postgresql://gapless:{PASSWORD}@localhost:{port}/logs{query}")
        ended = CliRunner().invoke(app, ["status", "--destination", "postgres"])
    assert ended.exit_code == 1, ended.output
    return given, ended.output


def test_every_address_with_a_password_is_checked() -> None:
    """Where a page shows a password and a host, it shows that the server must prove who it is."""
    assert len(shown()) >= 3
    assert [where for where in shown() if "sslmode=verify-full&sslrootcert=" not in where[1]] == []


@pytest.mark.parametrize("who", ["a stranger", "another name", ""])
def test_a_stranger_gets_no_password(
    who: str, certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a certificate of his own, one of another host, or without any: he is told nothing, and we say why."""
    query = f"?sslmode=verify-full&sslrootcert={certificates['another name' if who == 'another name' else 'ours']}"
    given, said = given_to(certificates.get(who), query, monkeypatch)
    assert given == []
    assert re.search("certificate|SSL", said), said
    assert PASSWORD not in said


@pytest.mark.parametrize(("who", "query"), [("ours", "verify-full"), ("a stranger", "prefer")])
def test_the_stranger_is_awake(
    who: str, query: str, certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: the true server gets the password, and without `verify-full` so does anybody."""
    own = f"?sslmode={query}" + (f"&sslrootcert={certificates[who]}" if query == "verify-full" else "")
    given, _ = given_to(certificates[who], own, monkeypatch)
    assert set(given) == {PASSWORD}
