"""Wrong answers below and above HTTP, one by one: a name, a group (see http_faults.py), a function of the right one.

What concerns paging stands in paging_faults.py.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import httpx2 as httpx

from tests.lab.faultlab.wire import CLOSE, RESET, Act, Acts, head, plain

LISTS = ("items", "action_logs", "agents", "breakdown", "actionLogs", "results")
EVERY = ("omni", "sequence", "kizen", "tines")
STALL = 1.5
"""Seconds; longer than the patched timeouts of world.PATCH."""


@dataclass(frozen=True)
class Exchange:
    """A request, the right answer to it, and how many wrong ones went out, this one included."""

    request: httpx.Request
    good: httpx.Response
    source: str
    fake: Any
    hits: int

    @property
    def body(self) -> Any:
        return json.loads(self.good.content)


@dataclass(frozen=True)
class Bend:
    name: str
    group: str
    acts: Callable[[Exchange], Acts]
    sources: tuple[str, ...] = EVERY
    sites: tuple[str, ...] | None = None
    phases: tuple[str, ...] | None = None

    def fits(self, source: str, phase: str, site: str) -> bool:
        where = source in self.sources and (self.sites is None or site in self.sites)
        return where and (self.phases is None or phase in self.phases)


def _acts(*acts: Act) -> Acts:
    return Acts(list(acts))


def _status(status: int, **headers: str) -> Callable[[Exchange], Acts]:
    told = {"retry-after" if name == "after" else name: value for name, value in headers.items()}
    return lambda x: plain(httpx.Response(status, headers=told, json={"error": {"message": "the laboratory"}}))


def _body(make: Callable[[Exchange], bytes | str], media: str = "application/json") -> Callable[[Exchange], Acts]:
    return lambda x: plain(httpx.Response(200, content=make(x), headers={"content-type": media}))


def _json(make: Callable[[Exchange], Any]) -> Callable[[Exchange], Acts]:
    return _body(lambda x: json.dumps(make(x)))


def _half(x: Exchange) -> bytes:
    return x.good.content[: len(x.good.content) // 2]


def _in_two(*between: Act) -> Callable[[Exchange], Acts]:
    """The right head and half of the body, then something else."""
    return lambda x: _acts(head(x.good) + _half(x), *between)


def _trickle(text: bytes) -> Acts:
    acts: list[Act] = []
    for index in range(40):
        acts += [text[index : index + 1], 0.05]
    return Acts([*acts, text[40:]])


def _listed(x: Exchange, change: Callable[[list[Any]], Any]) -> Any:
    """The right body with its list changed; a body without one is an object that is no record."""
    body = x.body
    name = next((n for n in LISTS if isinstance(body, dict) and n in body), None)
    if name is None:
        return {"unexpected": True}
    return body | {name: change(body[name])}


def _without(x: Exchange, *names: str) -> Any:
    body = x.body
    if not isinstance(body, dict) or not body.keys() & set(names):
        return {"unexpected": True}
    return {n: v for n, v in body.items() if n not in names}


def _until(x: Exchange, seconds: float) -> Acts:
    """429 for so long after the first one, then right."""
    began = x.fake.__dict__.setdefault("_lab_began", time.monotonic())
    return plain(x.good) if time.monotonic() - began > seconds else _status(429)(x)


STATUSES = {
    "passing": (408, 425, 429, 500, 501, 502, 503, 504, 507, 508, 511, 520, 522, 524, 529, 530, 599),
    "refused": (400, 402, 403, 405, 406, 407, 409, 411, 412, 413, 414, 415, 418, 421, 422, 423, 424, 426, 428, 431,
                444, 451, 499),
    "gone": (404, 410),
    "stop": (401,),
}  # fmt: skip
RETRY_AFTER = {
    "seconds": lambda: "1", "zero": lambda: "0", "a fraction": lambda: "0.2", "a day": lambda: "86400",
    "beyond numbers": lambda: "9" * 400, "negative": lambda: "-1", "garbage": lambda: "soon", "empty": lambda: "",
    "a date in the past": lambda: formatdate(time.time() - 3600, usegmt=True),
    "a date to come": lambda: formatdate(time.time() + 1, usegmt=True),
    "an RFC 850 date": lambda: time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime()),
    "an asctime date": lambda: time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime()),
    "the year 9999": lambda: "Fri, 31 Dec 9999 23:59:59 GMT",
}  # fmt: skip


def _long(status: int, name: str) -> str:
    """The group of a wait: one beyond the retry budget is about the key with 429, and about one answer with 503."""
    if name not in ("a day", "beyond numbers"):
        return "passing"
    return "stop" if status == 429 else "one alone"


STATUS_BENDS = [
    *(Bend(f"status {s}", group, _status(s)) for group, found in STATUSES.items() for s in found),
    *(
        Bend(
            f"{status}, Retry-After {name}", _long(status, name), lambda x, s=status, m=make: _status(s, after=m())(x)
        )
        for status in (429, 503)
        for name, make in RETRY_AFTER.items()
    ),
    Bend("429 for 0.6 s, no Retry-After", "harmless", lambda x: _until(x, 0.6), sites=("for ever", "one parent")),
    Bend("204 without a body", "passing", lambda x: plain(httpx.Response(204))),
    Bend("202 with an empty body", "passing", lambda x: plain(httpx.Response(202))),
    Bend("304", "refused", lambda x: plain(httpx.Response(304))),
    Bend("300 without Location", "refused", _status(300)),
    *(
        Bend(f"{s} to another host", "one alone", _status(s, location="http://127.0.0.2:9/api"))
        for s in (301, 302, 303, 307, 308)
    ),
    *(Bend(f"{s} to the same host", "refused", _status(s, location="/login")) for s in (301, 302, 303, 307, 308)),
]
WIRE_BENDS = [
    Bend("reset before an answer", "passing", lambda x: _acts(RESET)),
    Bend("closed before an answer", "passing", lambda x: _acts(CLOSE)),
    Bend("reset within the headers", "passing", lambda x: _acts(head(x.good)[:30], RESET)),
    Bend("closed within the headers", "passing", lambda x: _acts(head(x.good)[:30], CLOSE)),
    Bend("reset within the body", "passing", _in_two(RESET)),
    Bend("closed within the body", "passing", _in_two(CLOSE)),
    Bend("half-open: no answer, no end", "passing", lambda x: _acts(STALL, CLOSE)),
    Bend("half-open within the body", "passing", _in_two(STALL, CLOSE)),
    Bend("headers one byte at a time", "passing", lambda x: _trickle(head(x.good) + x.good.content)),
    Bend("body one byte at a time", "passing", lambda x: Acts([head(x.good), *_trickle(x.good.content).acts])),
    Bend("no HTTP at all", "passing", lambda x: _acts(b"SSH-2.0-OpenSSH_9.2\r\n", CLOSE)),
    Bend("a body without a head", "passing", lambda x: _acts(x.good.content, CLOSE)),
    Bend("a header of 300 kB", "passing", lambda x: _acts(head(x.good, x_padding="x" * 300_000) + x.good.content)),
    Bend("a header without a colon", "passing", lambda x: _acts(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", CLOSE)),
    Bend("NUL in a header", "passing", lambda x: _acts(head(x.good, x_odd="a\0b") + x.good.content)),
    Bend("Content-Length too small", "passing",
         lambda x: _acts(head(x.good, content_length=str(len(x.good.content) - 7)) + x.good.content)),
    Bend("Content-Length too large", "passing",
         lambda x: _acts(head(x.good, content_length=str(len(x.good.content) + 7)) + x.good.content, CLOSE)),
    Bend("Content-Length no number", "passing", lambda x: _acts(head(x.good, content_length="many"), CLOSE)),
    Bend("two Content-Lengths", "passing",
         lambda x: _acts(head(x.good).replace(b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\n"), x.good.content, CLOSE)),
    Bend("no Content-Length, closed", "harmless",
         lambda x: _acts(head(x.good, content_length=None) + x.good.content, CLOSE)),
    Bend("no Content-Length, cut", "passing", lambda x: _acts(head(x.good, content_length=None) + _half(x), CLOSE)),
    Bend("chunked, garbage as size", "passing",
         lambda x: _acts(head(x.good, content_length=None, transfer_encoding="chunked"), b"zz\r\n", _half(x), CLOSE)),
    Bend("chunked, cut", "passing",
         lambda x: _acts(head(x.good, content_length=None, transfer_encoding="chunked") + b"5\r\n12345\r\n", CLOSE)),
    Bend("chunked, right", "harmless",
         lambda x: _acts(head(x.good, content_length=None, transfer_encoding="chunked")
                         + b"%x\r\n" % len(x.good.content) + x.good.content + b"\r\n0\r\n\r\n")),
    Bend("100 Continue before the answer", "harmless",
         lambda x: _acts(b"HTTP/1.1 100 Continue\r\n\r\n" + head(x.good) + x.good.content)),
    Bend("HTTP/1.0", "harmless",
         lambda x: _acts(head(x.good).replace(b"HTTP/1.1", b"HTTP/1.0", 1) + x.good.content, CLOSE)),
    Bend("connection dropped after the answer", "harmless", lambda x: _acts(head(x.good) + x.good.content, CLOSE)),
    Bend("the answer twice", "harmless", lambda x: _acts(2 * (head(x.good) + x.good.content))),
    Bend("in small pieces", "harmless", lambda x: _acts(head(x.good), 0.01, _half(x), 0.05,
                                                        x.good.content[len(_half(x)):])),
    Bend("gzip that is none", "passing", lambda x: _acts(head(x.good, content_encoding="gzip") + x.good.content)),
    Bend("deflate that is none", "passing",
         lambda x: _acts(head(x.good, content_encoding="deflate") + x.good.content)),
    Bend("gzip, right", "harmless", lambda x: _zipped(x, gzip.compress(x.good.content))),
    Bend("gzip, cut", "passing", lambda x: _zipped(x, gzip.compress(x.good.content)[:-30])),
    Bend("an encoding nobody knows", "passing",
         lambda x: _acts(head(x.good, content_encoding="rot13") + x.good.content)),
]  # fmt: skip


def _zipped(x: Exchange, body: bytes) -> Acts:
    return _acts(head(x.good, content_encoding="gzip", content_length=str(len(body))) + body)


BODY_BENDS = [
    Bend("HTML with 200", "passing", _body(lambda x: "<!doctype html><h1>Maintenance</h1>", "text/html")),
    Bend("HTML called JSON", "passing", _body(lambda x: "<html><body>Sign in</body></html>")),
    Bend("an error with 200", "passing", _json(lambda x: {"error": {"type": "internal", "message": "try later"}})),
    Bend("errors with 200", "passing", _json(lambda x: {"errors": [{"message": "timeout"}]})),
    Bend("an empty object", "passing", _json(lambda x: {})),
    Bend("null", "passing", _json(lambda x: None)),
    Bend("a number", "passing", _json(lambda x: 42)),
    Bend("a string", "passing", _json(lambda x: "rate limited")),
    Bend("true", "passing", _json(lambda x: True)),
    Bend("an empty body", "passing", _body(lambda x: "")),
    Bend("only whitespace", "passing", _body(lambda x: " \n ")),
    Bend("a bare empty list", "passing", _json(lambda x: []), sources=("sequence", "tines")),
    Bend("the list missing", "passing", _json(lambda x: _without(x, *LISTS))),
    Bend("the list null", "passing", _json(lambda x: _listed(x, lambda items: None))),
    Bend("the list an object", "passing", _json(lambda x: _listed(x, lambda items: {"0": items[:1]}))),
    Bend("the list a string", "passing", _json(lambda x: _listed(x, lambda items: "none"))),
    Bend("the list under another name", "passing", _json(lambda x: {"data": x.body})),
    Bend("the page in a string", "passing", _json(lambda x: x.good.text)),
    Bend("paging missing", "passing", _json(lambda x: _without(x, "pagination", "meta", "next", "nextToken"))),
    Bend("paging null", "passing", _json(lambda x: x.body | {"pagination": None, "meta": None}),
         sources=("sequence", "tines")),
    Bend("paging an empty object", "passing", _json(lambda x: x.body | {"meta": {}}), sources=("tines",)),
    Bend("paging a list", "passing", _json(lambda x: x.body | {"pagination": [], "meta": []}),
         sources=("sequence", "tines")),
    Bend("the cursor a number", "passing", _json(lambda x: x.body | {"pagination": {"after": 7}}),
         sources=("sequence",)),
    Bend("JSON cut at the half", "passing", _body(_half)),
    Bend("JSON cut by one byte", "passing", _body(lambda x: x.good.content[:-1])),
    Bend("JSON twice", "passing", _body(lambda x: 2 * x.good.content)),
    Bend("JSON and garbage", "passing", _body(lambda x: x.good.content + b"<!-- cached -->")),
    Bend("a guard before the JSON", "passing", _body(lambda x: b")]}',\n" + x.good.content)),
    Bend("JSONP", "passing", _body(lambda x: b"callback(" + x.good.content + b")")),
    Bend("zero bytes", "passing", _body(lambda x: bytes(len(x.good.content)))),
    Bend("UTF-16", "passing", _body(lambda x: x.good.text.encode("utf-16"))),
    Bend("a BOM", "harmless", _body(lambda x: b"\xef\xbb\xbf" + x.good.content)),
    Bend("real UTF-8 instead of escapes", "harmless",
         _body(lambda x: json.dumps(x.body, ensure_ascii=False).encode())),
    Bend("latin-1", "doubtful",
         _body(lambda x: json.dumps(x.body, ensure_ascii=False).encode("latin-1", "replace"))),
    Bend("called text/html", "harmless", _body(lambda x: x.good.content, "text/html; charset=latin-1")),
    Bend("no Content-Type", "harmless", lambda x: _acts(head(x.good, content_type=None) + x.good.content)),
    Bend("pretty-printed", "harmless", _body(lambda x: json.dumps(x.body, indent=8))),
    Bend("fields in another order", "harmless",
         _body(lambda x: json.dumps(x.body, sort_keys=True))),
]  # fmt: skip
