"""Drops or hashes values inside of a JSON text, and leaves every other character of it as it is.

A path is the keys from the whole value down to what is personal; a list on the way, or at its end, stands for each of
its items. No column and no vendor may enter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec

Path = tuple[str, ...]
Hash = Callable[[str], str]
"""Returns the hash of a text, as 64 hex digits."""
HASHED = re.compile('"?[0-9a-f]{64}"?')
STEP = re.compile(r'\.(?:"([^"]+)"|([^.\[\]"\s]+))(?:\[\*\])?')
NOT_READ = '"not readable, so left out by a privacy rule"'
"""Stands in the place of a value that is nested too deeply to be looked into."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])


def parsed_path(text: str) -> Path | None:
    """Returns the keys of a path such as `.user.email` or `.items[*]."a.b"`; None for an invalid path."""
    found = [*STEP.finditer(text)]
    is_whole = "".join(step[0] for step in found) == text
    return tuple(step[1] or step[2] for step in found) if found and is_whole else None


def without_private(text: str, paths: Sequence[tuple[Path, str]], hashed: Hash) -> str:
    """Returns a JSON text in which what the paths lead to is null ("drop") or its hash ("hash").

    The shortest path counts first. What no path leads to keeps each of its characters.
    """
    try:
        for path, action in sorted(paths, key=lambda one: len(one[0])):
            text = _changed(text, path, (lambda _: "null") if action == "drop" else lambda leaf: _hash(leaf, hashed))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return NOT_READ
    return text


def hash_whole(text: str, hashed: Hash) -> str:
    """Returns the hash of a whole JSON value as JSON; equal values have equal hashes, whatever their spelling."""
    return json.dumps(hashed(canonical(text)))


def _hash(text: str, hashed: Hash) -> str:
    if text == "null":
        return text
    # A text without its quotation marks, so that its hash is that of the same text in a column of its own.
    return json.dumps(hashed(json.loads(text) if text.startswith('"') else canonical(text)))


def _changed(text: str, path: Path, change: Callable[[str], str]) -> str:
    """Returns the JSON text with the value at `path` changed; the same text if no value stands there."""
    text = text.strip()
    if text.startswith("["):
        items = [str(item, "utf-8") for item in _list.decode(text)]
        changed = [_changed(item, path, change) for item in items]
        return text if changed == items else f"[{', '.join(changed)}]"
    if not path:
        return change(text)
    if not text.startswith("{"):
        return text
    members = {key: str(value, "utf-8") for key, value in _object.decode(text).items()}
    if path[0] not in members:
        return text
    value = members[path[0]]
    members[path[0]] = _changed(value, path[1:], change)
    # A key that stands twice is met once, so the object is always written anew.
    return _object_text(members)


def _object_text(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {text}" for key, text in members.items()) + "}"


def canonical(text: str) -> str:
    """Returns one spelling for all JSON texts of a value: databases that store values write them in their own way."""
    try:
        value = json.loads(text, parse_float=_number, parse_int=_number)
    except (ValueError, RecursionError, ArithmeticError):
        return text
    if isinstance(value, str) and not text.lstrip().startswith('"'):
        return value.lstrip("\0")  # a number alone
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _number(text: str) -> str:
    """Returns the same text for equal numbers, which no text of a vendor can be: those hold no NUL."""
    sign, digits, exponent = Decimal(text).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{text!r} is no number of JSON")
    kept = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(kept)
    if not kept.strip("0"):
        return "\0" + "0"
    whole = kept.lstrip("0") + "0" * exponent if 0 <= exponent < 40 else f"{kept.lstrip('0')}e{exponent}"
    return "\0" + ("-" if sign else "") + whole
