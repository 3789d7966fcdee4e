"""Rules that reach inside JSON: what a path leads to is changed, in lists as well, and not a character beside it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence

import pytest

from gapless.sources._schema.private_json import NOT_READ, Path, canonical, hash_whole, parsed_path, without_private


def hashed(text: str) -> str:
    return hmac.new(b"a key of 16 characters", text.encode(), "sha256").hexdigest()


H = hashed("a@b.c")


@pytest.mark.parametrize(
    ("text", "paths", "wanted"),
    [
        (
            '{"user": {"email": "a@b.c", "n": 1.0e3}}',
            [(("user", "email"), "hash")],
            '{"user": {"email": "H", "n": 1.0e3}}',
        ),
        ('{"user": {"email": "a@b.c"}}', [(("user", "email"), "drop")], '{"user": {"email": null}}'),
        (
            '[{"email": "a@b.c"}, {"email": "a@b.c"}, 7]',
            [(("email",), "hash")],
            '[{"email": "H"}, {"email": "H"}, 7]',
        ),
        ('{"to": [["a@b.c"], null]}', [(("to",), "hash")], '{"to": [["H"], null]}'),
        ('{"u": {"e": "a@b.c"}}', [(("u", "e"), "hash"), (("u",), "drop")], '{"u": null}'),
        ('{"u": "text", "v": 1}', [(("u", "e"), "drop")], '{"u": "text", "v": 1}'),
        ('{"a.b": "a@b.c", "a": {"b": "x"}}', [(("a.b",), "hash")], '{"a.b": "H", "a": {"b": "x"}}'),
        ('{"e": "a@b.c", "e": "a@b.c"}', [(("e",), "hash")], '{"e": "H"}'),
        (
            '{"e": 12345678901234567890123, "x": 0.10}',
            [(("x",), "drop")],
            '{"e": 12345678901234567890123, "x": null}',
        ),
        ('"a@b.c"', [(("e",), "hash")], '"a@b.c"'),
        (
            '{"\u00e4": "a@b.c", "n": {"\u00e4": 1}}',
            [(("n", "\u00e4"), "drop")],
            '{"\u00e4": "a@b.c", "n": {"\u00e4": null}}',
        ),
        ("{" * 5000, [(("e",), "drop")], NOT_READ),
    ],
)
def test_what_a_path_leads_to(text: str, paths: Sequence[tuple[Path, str]], wanted: str) -> None:
    """Values in objects and lists; numbers and spellings beside them stay; what cannot be read is left out whole."""
    assert without_private(text, paths, hashed) == wanted.replace('"H"', f'"{H}"')


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (".user.email", ("user", "email")),
        ('.items[*]."a.b"', ("items", "a.b")),
        (".a", ("a",)),
        ("", None),
        (".", None),
        (".a..b", None),
        (".a[0]", None),
        ("a", None),
    ],
)
def test_paths(text: str, path: Path | None) -> None:
    """Keys after dots, in quotation marks where they hold one; anything else is refused."""
    assert parsed_path(text) == path


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ('{"a": 1, "b": [1.50, "x"]}', '{"b":[1.5,"x"],"a":1}', True),
        ("100", "1e2", True),
        ("1.0", "1", True),
        ("-0", "0", True),
        ('"\\u00fc"', '"\u00fc"', True),
        ("1", '"1"', False),
        ('{"a": 1}', '{"a": "1"}', False),
        ("[1, 2]", "[2, 1]", False),
        ("12345678901234567890123", "12345678901234567890124", False),
        ("true", "1", False),
        ("1e999999999", "2e999999999", False),
    ],
)
def test_one_spelling(one: str, other: str, equal: bool) -> None:
    """Equal values have one hash, however a database or a vendor spells them; others have another one."""
    assert (hash_whole(one, hashed) == hash_whole(other, hashed)) is equal


def test_plain_values_have_the_hash_of_their_text() -> None:
    """As an older version made it: of a text with its quotation marks, of a whole number by its digits."""
    for text in ('"plain"', "42", "-7", "true"):
        assert canonical(text) == text
        assert json.loads(hash_whole(text, hashed)) == hashed(text)
