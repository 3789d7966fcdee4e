"""A bad wire to Postgres: a TCP proxy on which one statement goes wrong. Knows no more of Postgres than that a
statement begins with Q.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

FAULTS = {
    "lost": "it arrives, its answer does not, and the connection ends",
    "reset": "it does not arrive, and the connection is reset",
    "vanish": "from then on nothing arrives on this connection, at either end, and nothing says so",
    "outage": "the same on all connections, and no new one is answered",
    "crash": "it waits for the server to crash and to be up again",
}
"""What happens to a statement."""
SO_ATTACH_FILTER = 26
NOTHING_PASSES = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
"""A socket filter of one instruction, `return 0`: Linux drops what comes in, TCP's own probes, too."""


class Wire:
    """The `at`-th statement that holds `part` goes wrong, as one of FAULTS."""

    def __init__(
        self, port: int, at: int, fault: str = "lost", crash: Callable[[], None] | None = None, part: bytes = b""
    ) -> None:
        self._upstream, self._at, self._fault, self._crash, self._part = port, at, fault, crash, part
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._open: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.statements = 0
        self.server_is_up = threading.Event()
        self.server_is_up.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:  # it is just restarting, and says so too
                client.close()
                continue
            self._open += client, server
            broken = threading.Event()
            for pump in (self._forth, self._back):
                threading.Thread(target=pump, args=(client, server, broken), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket, broken: threading.Event) -> None:
        with _hung_up(server):
            while data := client.recv(65536):
                if data[:1] == b"Q" and self._part in data and self._is_the_one():
                    broken.set()
                    self._break(client, server)
                server.sendall(data)

    def _back(self, client: socket.socket, server: socket.socket, broken: threading.Event) -> None:
        with _hung_up(client):
            while data := server.recv(65536):
                if broken.is_set():
                    return
                client.sendall(data)

    def _is_the_one(self) -> bool:
        with self._lock:
            self.statements += 1
            return self.statements == self._at

    def _break(self, client: socket.socket, server: socket.socket) -> None:
        """Raises OSError when the statement is not to arrive."""
        if self._crash:
            self.server_is_up.clear()
            self._crash()
            self.server_is_up.set()
        elif self._fault == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            raise ConnectionResetError
        elif self._fault in ("vanish", "outage"):
            for one in (client, server) if self._fault == "vanish" else (self._listener, *self._open):
                with suppress(OSError):  # it has ended before
                    one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _program())
            self._closed.wait()
            raise ConnectionResetError


def _program() -> bytes:
    return struct.pack("HP", 1, ctypes.addressof(NOTHING_PASSES))


@contextmanager
def _hung_up(connection: socket.socket) -> Iterator[None]:
    """At the end; merely closed it would stay open, as the other pump waits for it."""
    with closing(connection):
        with suppress(OSError):
            yield
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
