"""A second look at a body that strict JSON refuses because of single records in it.

NaN, half a surrogate pair, bytes that are no UTF-8 or endless nesting in one record make its whole page unreadable.
Here such a record becomes a JSON string that holds its text, so that the page can be read and the record reported;
every other record keeps its text to the letter. Pure functions; no HTTP may enter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator

import msgspec

_strict = msgspec.json.Decoder(msgspec.Raw)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_SPACE = " \t\n\r"


def mended(body: bytes) -> bytes | None:
    """`body` with its unreadable records as strings; None when it is not even shaped like JSON.

    Records are the elements of the outermost array, or of any array right inside the outermost object.
    """
    text = body.decode("utf-8", errors="surrogateescape")
    try:
        return "".join(_document(text)).encode()
    except (ValueError, IndexError):
        return None


def _document(text: str) -> Iterator[str]:
    at = _skip(text, 0)
    end = yield from (_array if text[at] == "[" else _object)(text, at)
    if text[end:].strip(_SPACE):
        raise ValueError("text after the end")


def _array(text: str, at: int) -> Generator[str, None, int]:
    """From `[` on; returns where it ended. Every element is a record."""
    yield "["
    at = _skip(text, at + 1)
    while text[at] != "]":
        end = _value_end(text, at)
        yield record(text[at:end].rstrip(_SPACE))
        at = yield from _comma(text, end, "]")
    yield "]"
    return at + 1


def _comma(text: str, at: int, end: str) -> Generator[str, None, int]:
    """Past the comma to the next element, or at the bracket that ends them."""
    if text[at] == ",":
        yield ","
        return _skip(text, at + 1)
    if text[at] != end:
        raise ValueError("neither a comma nor the end")
    return at


def _object(text: str, at: int) -> Generator[str, None, int]:
    """From `{` on; returns where it ended. A member that is an array holds records, others stay as they are."""
    if text[at] != "{":
        raise ValueError("no object")
    yield "{"
    at = _skip(text, at + 1)
    while text[at] != "}":
        key = _TOKEN.match(text, at)
        if key is None:
            raise ValueError("no key")
        colon = text.index(":", key.end())
        yield text[at : colon + 1]
        at = _skip(text, colon + 1)
        if text[at] == "[":
            at = _skip(text, (yield from _array(text, at)))
        else:
            end = _value_end(text, at)
            yield text[at:end]
            at = end
        at = yield from _comma(text, at, "}")
    yield "}"
    return at + 1


def _value_end(text: str, at: int) -> int:
    """Where the value at `at` ends: the next comma or closing bracket that is none of its own. No recursion."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        mark = token[0]
        if mark in "[{":
            depth += 1
        elif mark in "]},":
            if depth == 0:
                return token.start()
            depth -= mark != ","
    raise ValueError("no end")


def record(text: str) -> str:
    """`text` itself if it is strict JSON, else a JSON string that holds it."""
    try:
        _strict.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return json.dumps(text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace"))
    return text


def _skip(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
