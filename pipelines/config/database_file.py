"""Reads the path of a database's file, and refuses one that cannot be it before anything is made beside it.

No name of a destination may enter.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from gapless.pipelines.errors import WrongSettings

PASTED = re.compile(
    r"(?P<quoted>(['\"]).*\2|['\"].*|.*['\"])|(?P<json>\{.*\})|(?P<comment>.*\s(?:#|--)(?:\s.*)?)|(?P<blank>\s.*|.*\s)",
    re.DOTALL,
)
PROBLEMS = {
    "quoted": "has a quotation mark at its beginning or end, as a shell takes it away and a setting does not",
    "json": "looks like JSON, and a path is expected",
    "comment": "has a comment at its end, which a variable takes for a part of the path",
    "blank": "has a blank at its beginning or end",
}
"""What is pasted with a path and is part of no name that somebody chose."""
JOINERS = "\u200c\u200d"
"""Characters without width that belong into words of Persian and Hindi."""


def require_database(path: Path, mark: bytes, at: int, setting: str) -> None:
    """Raises WrongSettings, naming the `setting`, unless a path is free or a file of the engine that writes `mark`.

    `at` is the mark's first byte. An empty file is left to the engine.
    """
    if problem := _no_file(path) or _not_begun_by(mark, at, path):
        raise WrongSettings(
            f"{path} {problem}. It is left alone: choose another file with {setting}, for the demo with --file PATH."
        )


def require_folder(path: Path, setting: str) -> None:
    """Raises WrongSettings, naming the `setting`, where something else than a folder stands at a path."""
    if path.exists() and not path.is_dir():
        raise WrongSettings(f"{path} is no folder. It is left alone: choose another path with {setting}.")


def at_home(path: Path) -> Path:
    """Returns a path from its `~` on in that home folder, unless there is a folder of that name; else the same.

    A shell replaces it; a scheduler, a container or a TOML file does not.
    """
    at = next((number for number, part in enumerate(path.parts) if part.startswith("~")), None)
    if at is None or path.parent.is_dir():
        return path
    try:
        return Path(*path.parts[at:]).expanduser()
    except RuntimeError:  # there is no user of that name
        return path


def odd_name(path: Path) -> str | None:
    """Returns what is pasted with a path and part of no name; None for one that is there, whoever chose it."""
    if os.path.lexists(path):
        return None
    # What is not valid UTF-8 has a sentence of its own.
    if unseen := [one for one in path.name.strip() if not (one.isprintable() or one in JOINERS or _is_lone(one))]:
        return f"{str(path)!a} has a character that nobody sees, {unseen[0]!a}: write its name anew"
    found = PASTED.fullmatch(path.name)
    return f"{str(path)!a} {PROBLEMS[str(found.lastgroup)]}" if found else None


def _is_lone(character: str) -> bool:
    """Returns whether it stands for a byte that is no text."""
    return "\ud800" <= character <= "\udfff"


def _no_file(path: Path) -> str | None:
    """Returns what stands at a path in place of a file; None for a file, and where nothing is."""
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever opens it reports the reason
        return None
    if stat.S_ISREG(mode):
        return None
    return "is a folder, not the file of a database" if stat.S_ISDIR(mode) else "is a device or a pipe, not a file"


def _not_begun_by(mark: bytes, at: int, path: Path) -> str | None:
    """Returns that the file is of another program; None if it may be the engine's, or is not there."""
    # To close a file ends all locks of the process on it, also those of the engine.
    if _is_open_here(path):
        return None
    with suppress(OSError), path.open("rb") as file:
        if (begin := file.read(at + len(mark))) and begin[at:] != mark:
            return "is no database, but a file of another program"
    return None


def _is_open_here(path: Path) -> bool:
    with suppress(OSError):
        info = path.stat()
        for number in os.listdir("/dev/fd"):
            with suppress(OSError):  # the one that listed the folder is closed already
                if os.path.samestat(os.fstat(int(number)), info):
                    return True
    return False
