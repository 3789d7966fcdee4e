"""Makes a page readable that strict JSON rejects because of single invalid records.

NaN, an unpaired surrogate, invalid UTF-8 or endless nesting in one record make its whole page unreadable, and of a
key that stands twice a parser drops the first value. Here such a record becomes a JSON string that holds its text, so
that the page can be decoded and the record reported; every other record stays byte for byte as it is. Pure functions;
no HTTP may enter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator

import jiter
import msgspec

# Raw: the syntax of the whole text is checked, and nothing is built from it.
_strict = msgspec.json.Decoder(msgspec.Raw)
_values, _written = msgspec.json.Decoder(), msgspec.json.Encoder()
# Possessive quantifiers: without them `re` keeps some 80 bytes for each character of a long text.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)
_SPACE = " \t\n\r"
_BUILT_AT_ONCE = 4 * 2**20
"""Bytes of JSON whose values jiter may build, which take up to twenty times as much; Python's parser builds fewer."""


def quote_invalid_records(body: bytes) -> bytes | None:
    """Returns `body` with its invalid records as JSON strings; None when brackets and commas do not match.

    Records are the elements of the outermost array, or of any array right inside the outermost object.
    """
    text = body.decode("utf-8", errors="surrogateescape")
    try:
        return "".join(_document(text)).encode()
    except (ValueError, IndexError):
        return None


def _document(text: str) -> Iterator[str]:
    at = _skip_space(text, 0)
    end = yield from (_array if text[at] == "[" else _object)(text, at)
    if text[end:].strip(_SPACE):
        raise ValueError("text after the end")


def _array(text: str, at: int) -> Generator[str, None, int]:
    """Yields the array that begins at `at`, its elements quoted where invalid; returns the position after it."""
    yield "["
    at = _skip_space(text, at + 1)
    while text[at] != "]":
        end = _value_end(text, at)
        yield quote_if_invalid(text[at:end].rstrip(_SPACE))
        at = yield from _comma(text, end, "]")
    yield "]"
    return at + 1


def _comma(text: str, at: int, end: str) -> Generator[str, None, int]:
    """Yields the comma after an element, if any; returns the position of the next element or of the bracket."""
    if text[at] == ",":
        yield ","
        return _skip_space(text, at + 1)
    if text[at] != end:
        raise ValueError("neither a comma nor the end")
    return at


def _object(text: str, at: int) -> Generator[str, None, int]:
    """Yields the object that begins at `at`, the elements of its arrays quoted where invalid; returns its end."""
    if text[at] != "{":
        raise ValueError("no object")
    yield "{"
    at = _skip_space(text, at + 1)
    while text[at] != "}":
        key = _TOKEN.match(text, at)
        if key is None:
            raise ValueError("no key")
        colon = text.index(":", key.end())
        yield text[at : colon + 1]
        at = _skip_space(text, colon + 1)
        if text[at] == "[":
            at = _skip_space(text, (yield from _array(text, at)))
        else:
            end = _value_end(text, at)
            yield text[at:end]
            at = end
        at = yield from _comma(text, at, "}")
    yield "}"
    return at + 1


def _value_end(text: str, at: int) -> int:
    """Returns where the value at `at` ends: at the next comma or closing bracket outside it.

    Without recursion, because the nesting may be what made the record invalid.
    """
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


def quote_if_invalid(text: str) -> str:
    """Returns `text` itself (the same object) if it is strict JSON without repeated keys, else its JSON string."""
    try:
        body = text.encode()
        _strict.decode(body)
        if not repeats_key(body):
            return text
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        pass
    # The quoted text must itself be valid UTF-8, or the page would stay unreadable.
    return json.dumps(text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace"))


def repeats_key(body: bytes) -> bool:
    """Returns whether an object in this strict JSON, at any depth, has the same key twice, or that is unknown."""
    if len(body) <= _BUILT_AT_ONCE:
        if _is_written_back(body):
            return False
        try:
            jiter.from_json(body, catch_duplicate_keys=True, cache_mode="keys")
        except ValueError as error:
            if "duplicate key" in str(error):
                return True  # any other error is a limit of jiter's own, such as 200 levels
        else:
            return False
    found = False

    def check(members: list[tuple[str, object]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in members}) < len(members)

    try:
        json.loads(body, object_pairs_hook=check, parse_int=len, parse_float=len)
    except RecursionError:
        return True  # unknown, so the record counts as unreadable
    return found


def _is_written_back(body: bytes) -> bool:
    """Returns whether this JSON is to the letter what msgspec makes of its values: then each key stands once.

    Of two equal keys only one is written back. Most vendors' JSON is, and it takes 0.6 of jiter's time.
    """
    # Blanks and these escapes are written otherwise, so it would be in vain.
    if b'": ' in body[:1_000] or (b"\\" in body and (b"\\u" in body or b"\\/" in body)):
        return False
    try:
        return _written.encode(_values.decode(body)) == body
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False


def _skip_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at
