"""Is this body what the vendor documents? Pure functions of a body and its media type; no HTTP may enter.

What they say about a wrong body is in terms of types: its text may hold anything, so it is never quoted.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from gapless.sources._http.lenient_json import mended, record

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # a class, a generic or a union

T = TypeVar("T")


class Malformed(ValueError):
    """The body is not of the wanted shape; the message says what was expected and what was found."""


class OneRecord(bytes):
    """The shape of an answer that is one record: an object with an `id`. Its bytes, as the vendor wrote them.

    A vendor whose records call it otherwise derives a shape of its own: `class Event(OneRecord): id_name = "uuid"`.
    """

    id_name = "id"


_OBJECT = dict[str, msgspec.Raw]


def decoded(body: bytes, media: str, shape: TypeForm[T]) -> T:
    """The body as the msgspec type `shape`; raises Malformed. Single records that are no JSON stand as strings."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return cast(T, _one_record(body, shape) if _is_one_record(shape) else _decoded(body, shape))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        found = f"{media or 'no content type'}, {_first(body)}; {_complaint(error)}"
    expected = getattr(shape, "__name__", str(shape))
    # Raised outside the handler: msgspec's and Python's own errors hold parts of the body.
    raise Malformed(f"expected {expected} as the vendor documents it, found {found}")


def _decoded(body: bytes, shape: Any) -> Any:
    try:
        return _decoder(shape).decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        second = mended(body)
        if second is None:
            raise
        return _decoder(shape).decode(second)


def _is_one_record(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, OneRecord)


def _one_record(body: bytes, shape: Any) -> OneRecord:
    name: str = shape.id_name
    text = body.decode("utf-8", errors="surrogateescape")
    whole = record(text)
    found = name in _decoder(_OBJECT).decode(body) if whole is text else _has_id(text, name)
    if not found:
        raise msgspec.ValidationError(f"Object missing required field `{name}`")
    one: OneRecord = shape(body if whole is text else whole.encode())
    return one


def _has_id(text: str, name: str) -> bool:
    """Returns whether a text that strict JSON refuses is an object with the member `name`."""
    try:
        lenient = json.loads(text, strict=False)
    except RecursionError:  # whole it must be, as a cut body is asked for again
        return (
            f'"{name}"' in text and mended(b"[" + text.encode("utf-8", errors="surrogateescape") + b"]") is not None
        )
    return isinstance(lenient, dict) and name in lenient


def media_type(content_type: str) -> str:
    """A Content-Type without its parameters, or "" when it does not look like one."""
    media = content_type.split(";", maxsplit=1)[0].strip().lower()
    return media if re.fullmatch(r"[\w.+-]{1,40}/[\w.+-]{1,60}", media, re.ASCII) else ""


@functools.cache
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def _first(body: bytes) -> str:
    """What a body begins with, in words."""
    kinds = {b"{": "a JSON object", b"[": "a JSON array", b'"': "a JSON string", b"<": "HTML or XML"}
    kinds |= {b"t": "a JSON boolean", b"f": "a JSON boolean", b"n": "a JSON null", b"": "an empty body"}
    start = body.lstrip()[:1]
    return kinds.get(start, "a JSON number" if start in b"-0123456789" else "no JSON")


def _complaint(error: Exception) -> str:
    """msgspec's message without what it quotes from the body: wrong values and unknown keys."""
    if not isinstance(error, msgspec.MsgspecError):
        return "nested too deeply" if isinstance(error, RecursionError) else "not valid UTF-8"
    text = re.sub(r"'.*'", "(not shown)", str(error), flags=re.DOTALL)
    return re.sub(r"(unknown field) `.*`", r"\1", text, flags=re.DOTALL)
