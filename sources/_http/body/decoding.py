"""Decodes an answer: its body into a msgspec type, its `Link` header into URLs. Pure functions; no HTTP may enter.

Errors speak of types and never quote the body, because it may hold anything.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeGuard, TypeVar, cast, get_args, get_origin

import msgspec

from gapless.sources._http.body.lenient_json import quote_if_invalid, quote_invalid_records, repeats_key

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # a class, a generic or a union

T = TypeVar("T")

_TARGET = re.compile(r"<([^<>]*)>")
_TOKEN, _QUOTED = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", r'"(?:[^"\\]++|\\.)*+"'
_PARAMETER = re.compile(rf'\s*;\s*(?:({_TOKEN})\s*(?:=\s*({_QUOTED}|[^\s";,]*))?)?')
# A list may have empty elements, as in `<a>; rel=next,,` (RFC 9110, section 5.6.1).
_END_OF_LINK = re.compile(r"\s*(?:,[\s,]*|$)")


class TooMany(ValueError):
    """An answer with more records than one answer may have."""


class RepeatedKey(ValueError):
    """An object in an answer, outside its records, has a key twice, and one value of the two would be dropped."""


class Malformed(ValueError):
    """An answer that is not what the caller expects; the message says what was expected and what was found."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A page of a listing: its decoded body, its own URL, and what its `Link` header points to."""

    body: T
    url: str
    """The URL that was requested, with its query. Relative links inside the body are resolved against it."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Absolute URLs by relation type in lower case, such as "next" (RFC 8288). `get_page` takes them as a path."""


class OneRecord(bytes):
    """The type of an answer that is one record: a JSON object with an id, as the bytes that the vendor sent.

    For an id with another name a vendor derives a type: `class OneEvent(OneRecord): id_name = "uuid"`.
    """

    id_name = "id"
    """The JSON name of the id, without which the answer is taken for an error body."""


MOST_RECORDS = 200_000
"""Records in one answer; each costs memory, however short it is."""
JSON_NAMES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
"""What JSON calls the types of Python that msgspec names."""
NO_ERRORS = (b"", b"null", b"[]", b"{}", b'""', b"false", b"0")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decoded(body: bytes, media: str, shape: TypeForm[T]) -> T:
    """Returns the body as the msgspec type `shape`; raises Malformed, and TooMany for more than MOST_RECORDS.

    Single records that are not valid JSON become JSON strings that hold their text.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")  # a byte order mark, which JSON forbids and some servers send
    try:
        answer = cast(T, _one_record(body, shape) if _is_one_record(shape) else _decoded(body, shape))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        found = f"{media or 'no content type'}, {_first(body)}; {_problem(error)}"
    else:
        if not _is_one_record(shape):
            _check_errors(body)
        return _counted(answer)
    # Raised outside the handler: msgspec's and Python's own errors hold parts of the body.
    raise Malformed(f"expected {described(shape)}, as the vendor documents it, found {found}")


def _check_errors(body: bytes) -> None:
    """Raises Malformed for an object with errors beside its records: then some of them are missing."""
    if b'"error' not in body:
        return
    try:
        members = _object.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # an array of records, or what could only be read leniently
    for name in ("errors", "error"):
        if bytes(members.get(name, b"")).strip() not in NO_ERRORS:
            raise Malformed(f"expected records alone, found a member `{name}` beside them, so some may be missing")


def _counted(found: T) -> T:
    """Returns an answer again. Raises TooMany when it, or a list right inside it, is too long."""
    inside = found.values() if isinstance(found, dict) else [getattr(found, one) for one in _fields(found)]
    for records in (found, *inside):
        if isinstance(records, list) and len(records) > MOST_RECORDS:
            raise TooMany(f"the answer has {len(records):,} records, and more than {MOST_RECORDS:,} are not taken")
    return found


def _fields(found: object) -> tuple[str, ...]:
    return getattr(found, "__struct_fields__", ())


def _decoded(body: bytes, shape: object) -> object:
    try:
        found = _decoder(shape).decode(body)
        if not repeats_key(body):
            return found
        readable = quote_invalid_records(body)
    # Valid JSON of another shape: no single record is at fault, so there is nothing to make readable.
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        readable = quote_invalid_records(body)
        if readable is None:
            raise
    if readable is None or repeats_key(readable):
        raise RepeatedKey("a key stands twice beside the records")
    return _decoder(shape).decode(readable)


def _is_one_record(shape: object) -> TypeGuard[type[OneRecord]]:
    return isinstance(shape, type) and issubclass(shape, OneRecord)


def _one_record(body: bytes, shape: type[OneRecord]) -> OneRecord:
    name = shape.id_name
    # Invalid UTF-8 must survive until the record is quoted as a text.
    text = body.decode("utf-8", errors="surrogateescape")
    whole = quote_if_invalid(text)
    found = name in _object.decode(body) if whole is text else _has_id(text, name)
    if not found:
        raise msgspec.ValidationError(f"Object missing required field `{name}`")
    return shape(body if whole is text else whole.encode())


def _has_id(text: str, name: str) -> bool:
    """Returns whether a text that strict JSON refuses is an object with the member `name`."""
    try:
        lenient = json.loads(text, strict=False)
    except RecursionError:
        # Too deep for a parser, so its brackets are counted: a body that was cut off must be requested again.
        page = b"[" + text.encode("utf-8", errors="surrogateescape") + b"]"
        return f'"{name}"' in text and quote_invalid_records(page) is not None
    return isinstance(lenient, dict) and name in lenient


def links(headers: Iterable[str]) -> dict[str, str]:
    """Returns the targets of `Link` headers (RFC 8288), as written, by relation type in lower case.

    Of several links with one type the first counts. Links with an `anchor` are about another resource and left out.
    Raises Malformed for a header that does not follow the RFC: a next link that is missed would end the listing.
    """
    found: dict[str, str] = {}
    for header in headers:
        for target, parameters in _split_links(header):
            if "anchor" not in parameters:
                for relation in parameters.get("rel", "").lower().split():
                    found.setdefault(relation, target)
    return found


def _split_links(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields each link's target and parameters; of a parameter that comes twice the first counts."""
    at = len(header) - len(header.lstrip(", \t"))
    while at < len(header):
        link = _TARGET.match(header, at)
        if link is None:
            raise Malformed("expected a Link header with <targets>, found another text")
        at, parameters = link.end(), dict[str, str]()
        while parameter := _PARAMETER.match(header, at):
            at, value = parameter.end(), parameter[2] or ""
            if value.startswith('"'):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            parameters.setdefault((parameter[1] or "").lower(), value)
        end = _END_OF_LINK.match(header, at)
        if end is None:
            raise Malformed("expected a Link header with name=value parameters, found another text")
        at = end.end()
        yield link[1], parameters


def media_type(content_type: str) -> str:
    """Returns a Content-Type header without its parameters, or "" when it is not a media type."""
    media = content_type.split(";", maxsplit=1)[0].strip().lower()
    return media if re.fullmatch(r"[\w.+-]{1,40}/[\w.+-]{1,60}", media, re.ASCII) else ""


@functools.cache
def _decoder(shape: object) -> msgspec.json.Decoder[object]:
    # Made once for each type: msgspec looks at all of a type's fields when it makes a decoder.
    return msgspec.json.Decoder(cast("type[object]", shape))


def described(shape: object) -> str:
    """Says in words which JSON a type of ours stands for, such as "a JSON object with `items`"."""
    if _is_one_record(shape):
        return f"a JSON object with `{shape.id_name}`"
    if choices := get_args(shape):
        return "a JSON array" if get_origin(shape) is list else " or ".join(map(described, choices))
    fields = msgspec.structs.fields(shape) if isinstance(shape, type) and issubclass(shape, msgspec.Struct) else ()
    needed = [f"`{one.encode_name}`" for one in fields if one.required]
    return " ".join(["a JSON object", *(["with", " and ".join(needed)] if needed else [])])


def _first(body: bytes) -> str:
    """Says in words what a body begins with."""
    kinds = {b"{": "a JSON object", b"[": "a JSON array", b'"': "a JSON string", b"<": "HTML or XML"}
    kinds |= {b"t": "a JSON boolean", b"f": "a JSON boolean", b"n": "a JSON null", b"": "an empty body"}
    start = body.lstrip()[:1]
    return kinds.get(start, "a JSON number" if start in b"-0123456789" else "not JSON")


def _problem(error: Exception) -> str:
    """Returns msgspec's message without what it quotes from the body: wrong values and unknown keys."""
    if isinstance(error, RepeatedKey):
        return str(error)
    if not isinstance(error, msgspec.MsgspecError):
        return "nested too deeply" if isinstance(error, RecursionError) else "not valid UTF-8"
    text = re.sub(r"'.*'", "(not shown)", str(error), flags=re.DOTALL)
    text = re.sub(r"(unknown field) `.*`", r"\1", text, flags=re.DOTALL)
    return re.sub(r"\b(?:int|str|bool|float)\b(?=[ |\w]*`)", lambda found: JSON_NAMES[found[0]], text)
