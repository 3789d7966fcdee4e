"""`python -m tests.bench.server SHAPE RECORDS NEW PARENTS LATENCY_MS PER_MINUTE`: a vendor on loopback, in a process
of its own, that prints its port once every answer is ready. Ends when its input does.

HTTP/1.1 with keep-alive and nothing more: one write per answer, so that the contender is measured and not this.
Over the rate it answers 429 with Retry-After. Below /bench/ the runner grows it and reads what was counted.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections import deque
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.bench.vendors import Answer, Vendor, vendor

CREDENTIALS = (b"\r\nauthorization:", b"\r\nx-api-key:")


class Service:
    """What is asked of the vendor, counted and kept to the rate. Times are seconds on a monotonic clock."""

    def __init__(self, vendor: Vendor, per_minute: int = 0) -> None:
        self.vendor, self.per_minute = vendor, per_minute
        self.requests = self.throttled = 0
        self._sent: deque[float] = deque()

    def answer(self, method: str, target: str, head: bytes, now: float) -> tuple[Answer, str]:
        """The answer, and a header line more."""
        url = urlsplit(target)
        path, query = unquote(url.path), dict(parse_qsl(url.query))
        if path.startswith("/bench/"):
            return (200, [json.dumps(self._bench(path)).encode()]), ""
        self.requests += 1
        if method != "GET":
            return (405, [b"{}"]), ""
        if not any(name in head for name in CREDENTIALS):
            return (401, [b'{"error":{"type":"unauthorized","message":"Invalid API credentials"}}']), ""
        if self.per_minute and (wait := self._wait(now)):
            self.throttled += 1
            return (429, [b'{"error":{"type":"rate_limit"}}']), f"Retry-After: {math.ceil(wait)}\r\n"
        return self.vendor.answer(path, query), ""

    def _wait(self, now: float) -> float:
        while self._sent and self._sent[0] <= now - 60:
            self._sent.popleft()
        if len(self._sent) >= self.per_minute:
            return self._sent[0] + 60 - now
        self._sent.append(now)
        return 0.0

    def _bench(self, path: str) -> dict[str, object]:
        """/bench/grow and /bench/shrink begin a count anew; every path says how it stands."""
        if path == "/bench/grow":
            self.vendor.grow()
        elif path == "/bench/shrink":
            self.vendor.shrink()
        if path != "/bench/counts":
            self.requests = self.throttled = 0
            self._sent.clear()
        counts = {"requests": self.requests, "throttled": self.throttled}
        return counts | {"least": self.vendor.least_requests, "truth": self.vendor.truth.to_json()}


class Wire(asyncio.Protocol):
    """One connection: requests without a body, answered in order."""

    def __init__(self, service: Service, latency: float) -> None:
        self._service, self._latency = service, latency
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while b"\r\n\r\n" in self._read:
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
            (status, body), more = self._service.answer(method, target, head.lower(), time.monotonic())
            size = sum(map(len, body))
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            answer = b"".join([f"{line}Content-Length: {size}\r\n{more}\r\n".encode(), *body])
            if self._latency and b"/bench/" not in head:
                asyncio.get_running_loop().call_later(self._latency, self._write, answer)
            else:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(service: Service, latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Wire(service, latency), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the runner closes it, or dies
    server.close()


if __name__ == "__main__":
    shape, *numbers = sys.argv[1:]
    records, new, parents, latency_ms, per_minute = map(int, numbers)
    asyncio.run(serve(Service(vendor(shape, records, new, parents), per_minute), latency_ms / 1000))
