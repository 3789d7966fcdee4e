"""How dlt's TOML files are read: only those that nobody else can write, as people's editors write them, and with
messages that say where one is wrong."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

import tomlkit
from dlt.common.configuration.providers.toml import SettingsTomlProvider
from dlt.common.runtime import run_context
from tomlkit.exceptions import TOMLKitError

from gapless.sources._files.writers import refusal

__all__ = ["read_by_us"]
EXPECTED = 'expected lines such as [section] and name = "text"'


def read_by_us() -> None:
    """Makes dlt read its TOML files with `_read`, and none in a temporary folder that everybody shares.

    Why: an editor on Windows begins a file with a byte order mark, which dlt takes for a wrong key; and its messages
    name every file that could be meant, and often no line. A file that others can write could name another host for a
    key; and for a user without a home dlt looks for one in `$TMPDIR/dlt`. Replaced by: such messages and checks, and
    `utf-8-sig` in dlt.
    """
    provider: Any = SettingsTomlProvider
    provider._read_toml_file = _read
    run_context.global_dir = _global_folder


_dlts_global_folder = run_context.global_dir


def _global_folder() -> str:
    """Returns dlt's folder of this user, or a private one where dlt would take one in the temporary folder."""
    found = _dlts_global_folder()
    shared = os.path.join(tempfile.gettempdir(), "dlt")
    return os.environ["DLT_DATA_DIR"] if found == shared and "DLT_DATA_DIR" in os.environ else found


def _read(_: Any, path: str) -> tomlkit.TOMLDocument | None:
    """Returns a file's content; None without one. Raises ValueError, naming file and line, and quoting nothing."""
    if not os.path.lexists(path):
        return None
    content = b""
    try:
        if problem := refusal(path):
            raise ValueError(problem)
        content = Path(path).read_bytes().removeprefix(BOM_UTF8)
        # Line ends as Python makes them when it reads a text, which dlt does.
        text = content.decode().replace("\r\n", "\n").replace("\r", "\n")
        return tomlkit.parse(text)
    except OSError as error:
        # Docker makes a folder where the file to mount is not there.
        raise ValueError(f"{path} cannot be read: {error.strerror}; expected a TOML file") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = "UTF-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "not UTF-8"
        raise ValueError(f"{path}, line {line}: this is {found}; save the file as UTF-8") from None
    except TOMLKitError as error:
        raise ValueError(f"{path}{_problem(text, error)}; {EXPECTED}") from None


def _problem(text: str, error: Exception) -> str:
    """Returns the line and what is wrong there: from Python's parser, which knows every line, else from tomlkit."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as ours:
        error = ours
    last = f"at line {text.count(chr(10)) + 1}, column 1"
    said = str(error).rstrip(".").replace("at end of document", last)
    at = re.search(r"\(?at line (\d+),? col(?:umn)? \d+\)?$", said)
    return f", line {at[1]}: {said[: at.start()].strip().rstrip(':')}" if at else f": {said}"
