"""The secret key of the tombstones: without it nobody can tell whom they are about, nor test a guess."""

from __future__ import annotations

import hmac

import dlt

from gapless.sources._http.errors import Refused

SETTING = "GAPLESS_ERASURE_KEY"
SHORTEST = 16
"""Characters; a shorter key could be guessed."""


class LostKey(Refused):
    """Tombstones are here, and the key with which they were made is not."""


def configured_key() -> str | None:
    """Returns the key from the environment or from dlt's files of settings; None: there is none."""
    names = ("gapless_erasure_key", "gapless.gapless_erasure_key", "gapless.erasure_key")
    found = next(filter(None, (dlt.secrets.get(name, str) for name in names)), None)
    return found.strip() or None if found else None


def tombstone(key: str, kind: str, table: str, text: str) -> str:
    """Returns HMAC-SHA256 (RFC 2104) of what is erased, as 64 hex digits."""
    parts = "\x1f".join((kind, table, text)).encode("utf-8", "surrogatepass")
    return hmac.digest(key.encode(), parts, "sha256").hex()


def check_value(key: str) -> str:
    """Returns what a dataset keeps of the key, to know it again."""
    return tombstone(key, "key", "", "")


def require_key(stored: str | None, dataset: str) -> str:
    """Returns the key whose check value is `stored`. Raises LostKey, with what to do, where it is not at hand."""
    key = configured_key()
    if key and stored and hmac.compare_digest(check_value(key), stored):
        return key
    what = "is another key than theirs" if key else "is not set"
    raise LostKey(
        f"{dataset}: people were forgotten here, and {SETTING} {what}, so they would come back: nothing was done."
        f" Set {SETTING} to the key that gapless forget wrote into .dlt/secrets.toml ([gapless] erasure_key)"
    )
