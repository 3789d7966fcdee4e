"""Bodies that are compressed, however a server or a gateway does it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.sources._http.body.content_encoding import PIECE, Undecodable, decompressed
from gapless.sources._http.client import Client
from gapless.sources._http.errors import BadEnvelope
from gapless.sources._http.transport import httpx

TEXT = b'{"items": [' + b'{"id": 1}, ' * 5_000 + b'{"id": 2}]}'


def raw_deflate(body: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(body) + squeeze.flush()


BODIES = {
    "plain": (TEXT, []),
    "identity": (TEXT, ["identity"]),
    "gzip": (gzip.compress(TEXT), ["gzip"]),
    "an old name": (gzip.compress(TEXT), ["X-GZip"]),
    "two": (gzip.compress(TEXT), ["identity", "gzip"]),
    "members": (gzip.compress(TEXT[:70]) + gzip.compress(TEXT[70:]), ["gzip"]),
    "padding": (gzip.compress(TEXT[:70]) + gzip.compress(b"") + gzip.compress(TEXT[70:]) + b"\0" * 2_000, ["gzip"]),
    "zlib": (zlib.compress(TEXT), ["deflate"]),
    "raw deflate": (raw_deflate(TEXT), ["deflate"]),
    "both": (gzip.compress(zlib.compress(TEXT)), ["deflate", "gzip"]),
}


def whole(body: bytes, encodings: list[str], size: int = 1_000) -> bytes:
    return b"".join(decompressed((body[at : at + size] for at in range(0, len(body), size)), encodings))


@pytest.mark.parametrize("kind", BODIES)
def test_what_was_asked_for_is_decoded(kind: str) -> None:
    """All of it: several gzip members are one text."""
    body, encodings = BODIES[kind]
    for size in (1, 7, 1_000, 10**9):
        assert whole(body, encodings, size) == TEXT


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.integers(1, 50))
def test_members_are_joined_wherever_they_are_cut(texts: list[bytes], size: int) -> None:
    assert whole(b"".join(map(gzip.compress, texts)), ["gzip"], size) == b"".join(texts)


@pytest.mark.parametrize(
    "body", [gzip.compress(TEXT, mtime=0)[:-9], b"no gzip", gzip.compress(TEXT, mtime=0) + b"no"]
)
def test_a_body_that_is_cut_or_corrupt_is_no_body(body: bytes) -> None:
    with pytest.raises(Undecodable):
        whole(body, ["gzip"])


def test_a_bomb_comes_in_pieces() -> None:
    """Whoever counts the bytes can stop before they are in memory."""
    pieces = decompressed(iter([gzip.compress(bytes(50 * PIECE))]), ["gzip"])
    assert {len(next(pieces)) for _ in range(10)} == {PIECE}


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "exi"])
def test_an_encoding_that_nobody_asked_for_is_named(encoding: str) -> None:
    """Its bytes are not taken for a text, and the message says who may have done it."""

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield TEXT

    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Accept-Encoding"])
        return httpx.Response(200, headers={"Content-Encoding": encoding}, stream=Stream())

    last = encoding.rsplit(", ", maxsplit=1)[-1]
    it = Client("https://api.example.com", transport=httpx.MockTransport(handle), retry_budget=0)
    with pytest.raises(BadEnvelope, match=rf"encoded as '{last}'.*gateway"):
        it.get("x", dict[str, int])
    assert asked == ["gzip, deflate"]
