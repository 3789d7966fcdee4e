"""A vendor on a real loopback socket that can be made to misbehave below HTTP. Knows no vendor and no fault.

Answers go out as `Acts`: bytes to send, seconds to wait, and how the connection ends. A well-behaved answer is one
send on a connection that stays open.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx2 as httpx

RESET, CLOSE = "reset", "close"
Act = bytes | float | str
"""Bytes to send, seconds to wait, RESET or CLOSE."""
BODILESS = (204, 304)


@dataclass
class Acts:
    acts: list[Act] = field(default_factory=list)

    @property
    def closes(self) -> bool:
        return any(isinstance(act, str) for act in self.acts)


Answer = Callable[[httpx.Request], Acts]


def plain(response: httpx.Response) -> Acts:
    """A response as it should go over the wire."""
    return Acts([head(response) + response.content])


def head(response: httpx.Response, **instead: str | None) -> bytes:
    """Status line and headers, the length among them; `instead` overrules a header or, as None, leaves it out."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    headers.pop("transfer-encoding", None)
    if response.status_code not in BODILESS:
        headers["content-length"] = str(len(response.content))
    changed = {name.replace("_", "-"): value for name, value in instead.items()}
    lines = [f"{n}: {v}" for n, v in (headers | changed).items() if v is not None]
    first = f"HTTP/1.1 {response.status_code} {response.reason_phrase}"
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def free_port() -> int:
    """A port that nobody else is given, as systems hand out those above 32767."""
    while True:
        try:
            with socket.create_server(("127.0.0.1", random.randrange(10_000, 32_000))) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue


@contextmanager
def served(answer: Answer, port: int = 0) -> Iterator[str]:
    """The base URL of a server that answers with `answer`, until the block ends; 0: any port."""
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    server = _Server(listener, answer)
    threading.Thread(target=server.accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop()


class _Server:
    def __init__(self, listener: socket.socket, answer: Answer) -> None:
        self._listener, self._answer = listener, answer
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as stream:
                while (request := _request(stream)) is not None:
                    acts = self._answer(request)
                    self._act(connection, acts)
                    if acts.closes:
                        return
        except OSError:
            pass  # the client has gone
        finally:
            self._open.discard(connection)
            connection.close()

    def _act(self, connection: socket.socket, acts: Acts) -> None:
        for act in acts.acts:
            if isinstance(act, bytes):
                connection.sendall(act)
            elif isinstance(act, float):
                self._stopped.wait(act)
            elif act == RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                connection.shutdown(socket.SHUT_RDWR)


def _request(stream: Iterator[bytes]) -> httpx.Request | None:
    """The next request on a connection; None at its end."""
    line = stream.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split()
    headers = []
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.strip(), value.strip()))
    length = int(dict((n.lower(), v) for n, v in headers).get("content-length", 0))
    host = next(v for n, v in headers if n.lower() == "host")
    body = stream.read(length)
    return httpx.Request(method, f"http://{host}{target}", headers=headers, content=body)
