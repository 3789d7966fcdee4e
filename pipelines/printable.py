"""Makes text from outside safe to print: what a terminal or a log would obey or hide is escaped, as in `\\x1b`.

Ids, names of fields and messages come from vendors, and paths and settings from elsewhere. They are escaped where
they are printed or logged, so that a database and a `--json` document hold them as they are. Letters of every script,
accents and emoji stay readable. A backslash stays single, so a text can be escaped twice without change, and `\\x1b`
that a vendor wrote looks like an escape that was made here. Nothing of a command may enter.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from unicodedata import category

HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Letters and marks that are not seen, beside the categories for control and format."""
ZWNJ, ZWJ = "\u200c", "\u200d"
"""They join or part letters of some scripts (Persian, Hindi), and emoji."""
LETTERS = ("Lo", "Mn", "Mc")
"""Categories of letters of scripts without capitals, and of their marks."""
WORD = r"""(?:\$'(?:\\.|[^'\\])*'|'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+"""
"""A word of a shell's command, as it is written."""


def escaped(text: str, *, lines: bool = False) -> str:
    """Returns `text` on one line without a character that a terminal or a log would obey or not show.

    With `lines` its line ends stay: for texts of our own, into which no text from outside brings one.
    """
    if lines:
        return "\n".join(map(escaped, text.split("\n")))
    if text.isprintable() and not HIDDEN.search(text):
        return text
    made, before = [], ""
    for one, after in zip(text, f"{text[1:]} ", strict=True):
        stays = _stays(before, one, after)
        # A joiner or a mark after an escape would join the escape's own letters, so it has nothing before it.
        made.append(one if stays else _escape(one))
        before = one if stays else ""
    return "".join(made)


def _stays(before: str, one: str, after: str) -> bool:
    """Returns whether a character is shown as it is, between what is shown before it and what follows."""
    if one in (ZWNJ, ZWJ):
        return _joins(before, one, after)
    if HIDDEN.match(one):
        return _is_variant(before, one)
    return one.isprintable() or category(one) == "Zs"  # a space of another width


def _joins(before: str, one: str, after: str) -> bool:
    """Returns whether a joiner stands where people write it: between such letters, or between emoji."""
    if not before or HIDDEN.match(after):
        return False
    # Not between Latin letters: two ids would look alike.
    if category(before) in LETTERS and category(after) in LETTERS and not HIDDEN.match(before):
        return True
    of_emoji = category(before) in ("So", "Sk") or before == "\ufe0f"
    return one == ZWJ and of_emoji and category(after) in ("So", "Sm")


def _is_variant(before: str, one: str) -> bool:
    """Returns whether a mark chooses the form of the character before it, as of an emoji."""
    if not before or HIDDEN.match(before) or category(before) in ("Zs", "Cf"):
        return False
    if "\ufe00" <= one <= "\ufe0f":
        # A digit, # or * may have one: they are emoji on keys.
        return not (before.isascii() and before.isalpha())
    return category(before) == "Lo" and ("\u180b" <= one <= "\u180d" or "\U000e0100" <= one <= "\U000e01ef")


def _escape(one: str) -> str:
    return one.encode("unicode_escape").decode()


def json_text(content: object) -> str:
    """Returns the JSON text of a value on one line, with the same characters escaped as JSON does it.

    Joiners are escaped as well; whoever parses the text gets the value as it was.
    """
    text = json.dumps(content, ensure_ascii=False)
    if text.isprintable() and not HIDDEN.search(text):
        return text
    return "".join(one if _stays_in_json(one) else json.dumps(one)[1:-1] for one in text)


def _stays_in_json(one: str) -> bool:
    return (one.isprintable() and not HIDDEN.match(one)) or category(one) == "Zs"


def quoted(text: str) -> str:
    """Returns `text` as a word of a command for bash, zsh or ksh, which can be printed and pasted.

    Raises ValueError where `can_be_typed` is False.
    """
    if not can_be_typed(text):
        raise ValueError("no command line can hold this text")
    if escaped(text) == text:
        return shlex.quote(text)
    return f"$'{''.join(_in_shell(text))}'"


def command(destination: str, *words: str) -> str:
    """Returns a command of ours as it is typed for a destination: `command("postgres", "sync", name)`."""
    where = "" if destination == "duckdb" else f" --destination {quoted(destination)}"
    return f"gapless {' '.join(words)}{where}"


def can_be_typed(text: str) -> bool:
    """Returns whether an argument of a command can be this text: it has neither a NUL nor half of a character."""
    return "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def _in_shell(text: str) -> Iterator[str]:
    for one in text:
        if one in "'\\":
            yield f"\\{one}"
        elif escaped(one) == one:
            yield one
        else:  # as bytes, which every locale takes
            yield "".join(f"\\x{byte:02x}" for byte in one.encode())


def counted(count: int, noun: str) -> str:
    """Returns "1 request" or "1,204 requests", of a noun in the plural that ends in -s or -ies."""
    one = f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")
    return f"{count:,} {one if count == 1 else noun}"


def words(command: str) -> list[str]:
    """Returns the words of a command as they are written, quoted or not."""
    return re.findall(WORD, command, re.DOTALL)
