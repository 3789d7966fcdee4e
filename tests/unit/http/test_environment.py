"""Proxies and certificates of the environment: a wrong variable is named, a proxy's refusal told as its own."""

from __future__ import annotations

import gc
import os
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gapless.sources._http.client import Client, check_environment
from gapless.sources._http.environment.certificates import FILE, FOLDER, KEY_LOG
from gapless.sources._http.environment.errors import NetworkSettingError
from gapless.sources._http.environment.plain_http import ALLOW
from gapless.sources._http.errors import ProxyRefused, ProxyUnavailable, Retryable, Unavailable, VendorError
from gapless.sources._http.testing import serve
from gapless.sources._http.transport import httpx
from tests.unit.http.test_transport import Page

PASSWORD = "canary%2Fpw"
HTML = "Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUS0gEU+yosjkfUHy6lgufnUUaJKYwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjYwNjAyMTFaGA8yMTI2MTEwMjA2MDIx
MVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFJG
CdlZpLAYSY8VNYfrTWiGqQjtVmPQCgm7BodGYiuHL65I2SD4JhyXxHyTMlfb++bS
u/HwP8vfwDGTdHjDzlujUzBRMB0GA1UdDgQWBBT1ZknveBBV7W8sNLDgg4gyeNbv
5TAfBgNVHSMEGDAWgBT1ZknveBBV7W8sNLDgg4gyeNbv5TAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDXaUJF1bQQYWzUsLRmqDLCZqFUAoCGRDp7
K+yVTzM2WAIgGAy6TTzuEFwpgdCebq5YhxBGlruEb1BiC6CQHQAIVFE=
-----END CERTIFICATE-----
"""
"""Of nobody; its key is lost."""
WRONG = (
    "http://user:canary@proxy:port", "http://user:canary@proxy:99999", "http://user:canary@proxy:0",
    "http://user:canary@:3128", "htp://user:canary@proxy:3128", "socks://user:canary@proxy:1080",
    "http://user:canary/x@proxy:3128", "user:canary@[::1:3128", " http://user:canary@proxy:3128",
    "http://user:canary@proxy:3128\n", "http://user:canary@proxy:3128/path", "http://",
    "user:canary@é*", "[::1]canary",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no certificates of whoever runs the tests."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name in (FILE, FOLDER, KEY_LOG)]:
        monkeypatch.delenv(name)


@contextmanager
def listening(treat: Callable[[socket.socket], None]) -> Iterator[str]:
    """Yields host and port of a server that treats each connection in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection:
            treat(connection)

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def saying(answer: str) -> Callable[[socket.socket], None]:
    """Returns what answers the first request of a connection so, and closes it; nothing is said for ""."""

    def treat(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer.encode())

    return treat


def socks(connection: socket.socket) -> None:
    """A SOCKS5 proxy without a password, for IPv4 addresses (RFC 1928)."""
    connection.recv(100)
    connection.sendall(b"\x05\x00")
    asked = connection.recv(100)
    port = int.from_bytes(asked[-2:], "big")
    with socket.create_connection(("127.0.0.1", port)) as there:
        connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        while True:
            for ready in select.select([connection, there], [], [], 10)[0]:
                data = ready.recv(65_536)
                if not data:
                    return
                (there if ready is connection else connection).sendall(data)


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests look at what goes through a proxy."""
    monkeypatch.setenv(ALLOW, "1")


def failure(url: str) -> VendorError:
    """Returns the error of one request to `url`, which must fail."""
    with Client(url, retry_budget=0) as client, pytest.raises(VendorError) as raised:
        client.get("x", Page)
    return raised.value


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "All_Proxy"])
@pytest.mark.parametrize("value", WRONG)
def test_a_proxy_that_is_none(value: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variable is named before any request, as is what was expected; and nothing of a password."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(NetworkSettingError, match=rf"^{variable}: .*Expected http://HOST:PORT") as raised:
        Client("https://api.example.com")
    assert "canary" not in str(raised.value)
    monkeypatch.setenv("NO_PROXY", "localhost, *")
    Client("https://api.example.com").close()


def test_the_variable_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in lower case goes before one in capitals, and an empty one switches that off, as httpx has it."""
    monkeypatch.setenv("HTTP_PROXY", "http://user:canary@big:3128")
    assert check_environment() == ["http://big:3128 (HTTP_PROXY)"]
    monkeypatch.setenv("http_proxy", "small:3128")
    assert check_environment() == ["http://small:3128 (http_proxy)"]
    monkeypatch.setenv("http_proxy", "")
    assert check_environment() == []
    monkeypatch.delenv("http_proxy")
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    assert check_environment() == []


@pytest.mark.parametrize(
    ("answer", "url", "kind", "said"),
    [
        (f"HTTP/1.1 403 Forbidden\r\n{HTML}", "https://api.example.com", ProxyRefused, "said 403.*NO_PROXY"),
        (f"HTTP/1.1 407 No\r\n{HTML}", "https://api.example.com", ProxyRefused, "said 407.*user name and a password"),
        (f"HTTP/1.1 502 Bad Gateway\r\n{HTML}", "https://api.example.com", ProxyUnavailable, "said 502"),
        ("", "https://api.example.com", Unavailable, "through.*remote protocol error"),
        (f"HTTP/1.1 403 Forbidden\r\n{HTML}", "http://api.example.com", ProxyRefused, "answered 403.*NO_PROXY"),
        (f"HTTP/1.1 407 No\r\n{HTML}", "http://api.example.com", ProxyRefused, "answered 407.*user name"),
        (f"HTTP/1.1 503 Bad Gateway\r\n{HTML}", "http://api.example.com", ProxyUnavailable, "answered 503 in place"),
        ("SSH-2.0\r\n", "http://api.example.com", Unavailable, "through.*remote protocol error"),
    ],
)
def test_a_proxy_that_refuses(
    answer: str, url: str, kind: type[VendorError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named with its variable, without user and password; no error of the vendor's is made of it."""
    with listening(saying(answer)) as address:
        for variable in ("http_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, f"http://user:{PASSWORD}@{address}")
        variable = "HTTPS_PROXY" if url.startswith("https") else "http_proxy"
        error = failure(url)
    assert type(error) is kind
    assert f"proxy http://{address} ({variable})" in str(error)
    assert re.search(said, str(error)), str(error)
    assert not any(secret in str(error) for secret in ("canary", "user:", "vendor says"))


def test_what_the_vendor_says_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in JSON is the vendor's, and a 404 always: what is gone there is not the proxy's."""
    for status, kind, media in ((403, "Forbidden", "json"), (404, "NotFound", "html"), (500, "Unavailable", "json")):
        body = f"HTTP/1.1 {status} x\r\nContent-Type: text/{media}\r\nContent-Length: 2\r\n\r\n{{}}"
        with listening(saying(body)) as address:
            monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
            assert type(failure("http://api.example.com")).__name__ == kind


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_is_away(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is to the proxy, and may be over soon."""
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:{PASSWORD}@127.0.0.1:9")
    error = failure("https://api.example.com")
    assert isinstance(error, ProxyUnavailable)
    assert f"did not reach the proxy {scheme}://127.0.0.1:9 (ALL_PROXY): connect error" in str(error)


def test_a_socks_proxy_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request goes through it to the vendor."""
    with serve(lambda request: httpx.Response(200, json={"items": []})) as url, listening(socks) as address:
        monkeypatch.setenv("ALL_PROXY", f"socks5://{address}")
        port = url.rpartition(":")[2]
        with Client(f"http://192.0.2.1:{port}", retry_budget=0) as client:  # for documents; ours answers in its place
            assert client.get("x", Page).items == []


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_a_socks_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said. httpcore leaves that socket to the garbage collector."""
    with listening(saying("HTTP/1.1 400 Bad\r\n\r\n")) as address:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{address}")
        assert "an answer of another kind of proxy" in str(failure("http://192.0.2.1:9"))
    gc.collect()


@pytest.mark.parametrize("entry", ["::", "[::]", "::/128", "[::]:9", "fe80::/10, ::/96", "*", "x:y:z, [::"])
def test_no_proxy_with_ipv6(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to write an address is understood, and what is none does no harm."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", entry)
    error = failure("http://[::]:9")
    assert isinstance(error, ProxyUnavailable) == (entry == "x:y:z, [::")
    assert isinstance(error, Retryable)


@pytest.fixture
def wrong(tmp_path: Path) -> dict[str, str]:
    """Paths that are no certificates, by what is wrong with them."""
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("milk, bread\n")
    (tmp_path / "folder").mkdir()
    return {name: str(tmp_path / name) for name in ("empty", "text", "folder", "absent")}


@pytest.mark.parametrize(
    ("variable", "kinds"),
    [
        (FILE, {"empty": "is empty", "text": "holds no cert", "folder": FOLDER, "absent": "No such file"}),
        (FOLDER, {"text": "Not a directory", "folder": "name of its hash", "absent": "No such file"}),
        (KEY_LOG, {"folder": "Is a directory"}),
    ],
)
def test_certificates_that_are_none(
    variable: str, kinds: dict[str, str], wrong: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, the path and what is wrong with it are said before any request."""
    if variable == KEY_LOG:
        (tmp_path / "ca.pem").write_text(CERTIFICATE)
        monkeypatch.setenv(FILE, str(tmp_path / "ca.pem"))
    for kind, said in kinds.items():
        monkeypatch.setenv(variable, wrong[kind])
        with pytest.raises(NetworkSettingError, match=rf"^{variable}: .*{wrong[kind]}.*{said}.*expected a "):
            Client("https://api.example.com")
        with pytest.raises(NetworkSettingError):
            check_environment()
    monkeypatch.setenv(variable, "")
    Client("https://api.example.com").close()


def test_one_folder_of_several(wrong: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that are not there do no harm beside one with certificates."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "9d66eef0.0").write_text(CERTIFICATE)
    monkeypatch.setenv(FOLDER, os.pathsep.join([wrong["absent"], str(tmp_path / "good")]))
    assert check_environment() == []


def test_a_folder_beside_a_file_of_certificates(
    wrong: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file counts alone. A folder that is not there is still a mistake; what it holds does not matter."""
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    monkeypatch.setenv(FILE, str(tmp_path / "ca.pem"))
    monkeypatch.setenv(FOLDER, wrong["folder"])
    assert check_environment() == []
    for kind, said in {"text": "Not a directory", "absent": "No such file"}.items():
        monkeypatch.setenv(FOLDER, wrong[kind])
        with pytest.raises(NetworkSettingError, match=f"^{FOLDER}: .*{said}"):
            check_environment()
