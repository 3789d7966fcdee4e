"""Reads the bodies of answers, within a deadline and up to a size. What they mean may not enter."""

from __future__ import annotations

from collections.abc import Iterator

from gapless.sources._http.body.content_encoding import Undecodable, decompressed
from gapless.sources._http.transport import Deadline, httpx

ERROR_BODY_BYTES = 65_536
"""How much of an error's body is read: enough for a message, and an endless one ends."""
BODY_BYTES = 256 * 2**20
"""How many bytes an answer may have, decompressed: a small one may be compressed from gigabytes."""
LONGEST = f", and more than {BODY_BYTES / 1e6:,.0f} MB are not taken"


class BodyTooLong(Exception):
    """An answer has more than BODY_BYTES."""


def whole_body(response: httpx.Response, deadline: Deadline) -> bytes:
    """Returns an answer's body, decompressed. Raises BodyTooLong early, DeadlinePassed, Undecodable."""
    declared = response.headers.get("Content-Length", "")
    if declared.isdecimal() and int(declared) > BODY_BYTES:
        raise BodyTooLong(f"the answer has {int(declared) / 1e6:,.0f} MB{LONGEST}")
    chunks, size = [], 0
    for chunk in deadline.check(_decoded(response)):
        size += len(chunk)
        if size > BODY_BYTES:
            raise BodyTooLong(f"the answer goes on after {size / 1e6:,.0f} MB{LONGEST}")
        chunks.append(chunk)
    return b"".join(chunks)


def error_body(response: httpx.Response, deadline: Deadline) -> bytes:
    """Returns the beginning of an error's body, up to about ERROR_BODY_BYTES or to where the connection broke."""
    body = b""
    try:
        for chunk in deadline.check(_decoded(response)):
            body += chunk
            if len(body) > ERROR_BODY_BYTES:
                break
    except (httpx.TransportError, httpx.DecodingError, Undecodable):
        pass  # the status alone says what happened
    return body


def _decoded(response: httpx.Response) -> Iterator[bytes]:
    if response.is_stream_consumed:  # by a test's transport, which has read and decoded it
        return response.iter_bytes()
    return decompressed(response.iter_raw(), response.headers.get_list("Content-Encoding", split_commas=True))
