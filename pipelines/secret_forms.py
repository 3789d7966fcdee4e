"""Finds a secret in a text in whatever form it was written there: escaped, percent-encoded, in base64, or cut.

Knows no setting, and which texts are secrets is not its matter.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Iterator
from dataclasses import dataclass

STARS = "***"
SHORT = 8
"""Characters; a shorter secret counts only where no letter and no digit stands beside it, else it blanks words."""
PART = 12
"""Characters at least of a part of a secret that stands alone: a URL is split at its slashes, a long text is cut."""
BASE64 = 10
"""Characters at least of a piece of base64, of which the first and the last bits belong to what stands beside."""
LOGIN = re.compile(r"(?<=://)([^\s:/?#@'\"]*):(?!password@)(?:[^\s/?#@'\"]|@(?=[^\s/?#'\"]*@))+@", re.IGNORECASE)
"""User and password in a URL; `user:password@` stands in our own messages."""
PASSWORD = re.compile(r"\b((?:ssl)?password|pwd)=(?:'(?:\\.|[^'\\])*'|[^\s&;'\"]+)", re.IGNORECASE)
"""A password among the words of a database's address."""
HEADER = re.compile(r"\b(Basic|Bearer)(?:\s|%20|\+)+[\w.~+/%=-]{20,}")
"""The client makes the text of a Basic header from two settings, so no setting holds it."""
_PLAIN = re.compile(r"[\w.~-]+", re.ASCII)
_ESCAPES = {"\n": "n", "\r": "r", "\t": "t"}


@dataclass(frozen=True)
class Finder:
    """Replaces secrets by stars."""

    pattern: re.Pattern[str] | None
    seeds: frozenset[str]
    """Plain pieces of which one stands in each text that holds a secret: most texts hold none."""

    def blanked(self, text: str) -> str:
        """Returns `text` without secrets; passwords in addresses and headers go whether they are known or not."""
        lower = text.lower() if self.pattern else ""
        if self.pattern and any(seed in lower for seed in self.seeds):
            text = self.pattern.sub(STARS, text)
        text = LOGIN.sub(rf"\1:{STARS}@", text) if "://" in text else text
        return HEADER.sub(rf"\1 {STARS}", PASSWORD.sub(rf"\1={STARS}", text))


def finder(secrets: Collection[str]) -> Finder:
    """Returns what finds these secrets, the longest first: one may be part of another."""
    patterns: dict[str, str] = {}
    for secret in sorted(secrets, key=len, reverse=True):
        patterns.update({one: _written(one) for one in (secret, *_parts(secret)) if one not in patterns})
        patterns.update({one: re.escape(one) for one in _in_base64(secret)})
        if len(secret) >= PART + 4 and "://" not in secret:
            patterns[_half(secret)] = _written(_half(secret)) + r"[^\s\"'<>]*"
    if not patterns:
        return Finder(None, frozenset())
    ordered = sorted(patterns, key=len, reverse=True)
    # In any case: a host's name has it in small letters.
    pattern = re.compile("|".join(patterns[one] for one in ordered), re.IGNORECASE)
    return Finder(pattern, frozenset(_seed(one).lower() for one in patterns))


def _seed(text: str) -> str:
    """Returns the longest piece that is written the same everywhere."""
    return max(_PLAIN.findall(text), key=len, default="")


def _parts(secret: str) -> Iterator[str]:
    """Yields the lines of a key, and the pieces between characters that end something in a URL or in a message.

    None of a URL, whose host helps in messages: its tokens are secrets of their own.
    """
    if "://" in secret:
        return
    ends = (r"[\r\n]+", r"[/@:?#&\s'\"]+", r"[/@:?#&=+,;%\s'\"]+")
    pieces = (one for end in ends for one in re.split(end, secret))
    yield from (one for one in pieces if len(one) >= PART and not one.startswith("-----"))


def _half(secret: str) -> str:
    """Returns the beginning of a long secret, which a cut message may end with."""
    return secret[: max(PART, len(secret) // 2)]


def _in_base64(secret: str) -> Iterator[str]:
    """Yields the texts that stand in base64 of anything around the secret."""
    raw = secret.encode("utf-8", "surrogatepass")
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            # The characters that hold bits of what stands beside are left out.
            start, end = (before * 8 + 5) // 6, (before + len(raw)) * 8 // 6
            if end - start >= BASE64:
                yield encode(b"x" * before + raw + b"xx").decode()[start:end]


def _written(secret: str) -> str:
    """Returns a pattern for a secret in the forms that URLs, JSON, HTML, shells and Python's repr give it."""
    pattern = "".join(map(_character, secret))
    if len(secret) >= SHORT:
        return pattern
    return rf"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{{2}})|(?<=\\[nrt])){pattern}(?![A-Za-z0-9])"


def _character(one: str) -> str:
    if _PLAIN.fullmatch(one):
        return re.escape(one)
    raw = one.encode("utf-8", "surrogatepass")
    forms = [
        r"\\{0,4}" + re.escape(one),
        "(?i:" + "".join(f"%(?:25)*{byte:02x}" for byte in raw) + ")",
        r"(?i:" + "".join(rf"\\{{1,4}}x{byte:02x}" for byte in raw) + ")",
        rf"(?i:\\{{1,4}}(?:u{ord(one):04x}|U{ord(one):08x}|x{ord(one):02x})|&\#(?:x0*{ord(one):x}|0*{ord(one)});)",
    ]
    if (named := html.escape(one)) != one:
        forms.append(re.escape(named))
    if one in _ESCAPES:
        forms += [rf"\\{{1,4}}{_ESCAPES[one]}", r"\s+"]
    forms += [r"\+"] if one == " " else ["''"] if one == "'" else []
    return f"(?:{'|'.join(forms)})"
