"""Decompresses an answer's body piece by piece. No vendor may enter.

https://www.rfc-editor.org/rfc/rfc9110#section-8.4 and https://www.rfc-editor.org/rfc/rfc1952. httpx decodes what
libraries happen to be installed for, hands on everything else as if it were the text, and ends at the first of
several gzip members, where the rest of a listing would be lost without a word.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

ACCEPTED = "gzip, deflate"
"""What is asked for, as the header `Accept-Encoding`."""
PIECE = 2**20
"""Bytes that one step of decompression returns at most, so that a bomb is noticed before it is in memory."""
_GZIP = zlib.MAX_WBITS | 16


class Undecodable(Exception):
    """A body that does not decompress: corrupt, cut, or of an encoding that was not asked for."""


def decompressed(chunks: Iterable[bytes], encodings: Iterable[str]) -> Iterator[bytes]:
    """Yields a body without its encodings, given in the order in which they were applied. Raises Undecodable."""
    stream = iter(chunks)
    for encoding in reversed([one.strip().lower() for one in encodings]):
        if encoding in ("gzip", "x-gzip"):
            stream = _inflated(stream, _GZIP)
        elif encoding == "deflate":
            stream = _inflated(*_with_format(stream))
        elif encoding not in ("identity", ""):
            raise Undecodable(
                f"the answer is encoded as {encoding[:20]!a}, and only {ACCEPTED} was asked for;"
                " a proxy or gateway in between may do that"
            )
    return stream


def _with_format(chunks: Iterator[bytes]) -> tuple[Iterator[bytes], int]:
    """Returns a deflate stream again, and its format: some servers leave zlib's header out (RFC 9110, 8.4.1.2)."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) > 1:
            break
    has_header = len(start) > 1 and start[0] & 15 == zlib.DEFLATED and int.from_bytes(start[:2]) % 31 == 0
    return chain([start], chunks), zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _inflated(chunks: Iterator[bytes], format_: int) -> Iterator[bytes]:
    """Yields all members of a gzip stream (RFC 1952, 2.2), or a deflate stream."""
    inflate, begun = zlib.decompressobj(format_), False
    for chunk in chunks:
        left = chunk
        while left:
            begun = True
            if inflate.eof:
                left = left.lstrip(b"\0")  # padding after a member, which gzip's own programs pass over, too
                if not left:
                    break
                inflate = zlib.decompressobj(format_)
            try:
                yield inflate.decompress(left, PIECE)
            except zlib.error as error:
                raise Undecodable(f"the answer is not valid compressed data: {error}") from None
            left = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    if begun:
        yield inflate.flush()
    if begun and not inflate.eof:
        raise Undecodable("the answer ends in the middle of its compressed data")
