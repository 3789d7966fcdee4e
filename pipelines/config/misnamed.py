"""Names files and folders that were meant to hold settings and are read by nobody, as by a slip in a name.

It looks at names alone and opens no file. No setting and no source may enter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from gapless.pipelines.config.project import PROJECT, has_fallen_back

FOLDER = ".dlt"
FILES = {"config": "config.toml", "secrets": "secrets.toml"}
"""The two files that dlt reads, by the stem of their names."""
ENDINGS = {"", "toml", "tml", "tom", "toml.txt", "txt", "yaml", "yml", "json", "ini", "cfg", "conf", "env"}
"""What people write behind it; `config.toml.bak` and `example.secrets.toml` are left aside on purpose."""


def misnamed() -> Iterator[str]:
    """Yields a sentence for each file or folder that nobody reads, with the name that is read."""
    # A checkout that was fallen back to is not what the user named, so the working folder counts.
    here = Path("." if has_fallen_back() else os.environ.get(PROJECT, "."))
    yield from _files(here / FOLDER)
    for name in _names(here):
        if name != FOLDER and get_close_matches(name.lower(), [FOLDER], cutoff=0.75):
            holds = any(file.lower().endswith(".toml") for file, _ in _meant(here / name))
            if holds and not _is_same(here / name, here / FOLDER):
                yield f"nobody reads the folder {_shown(here / name)}: the one for settings is called {FOLDER}"
    if not (here / FOLDER / FILES["secrets"]).exists() and (here / FILES["secrets"]).is_file():
        yield f"nobody reads {here / FILES['secrets']}: its place is {here / FOLDER / FILES['secrets']}"


def absent() -> Iterator[str]:
    """Yields why no file of settings is found although there may be one: the folder that is looked into has none."""
    given = os.environ.get(PROJECT)
    if given and not has_fallen_back():
        if not (Path(given) / FOLDER).is_dir():
            holds = f"; set it to {Path(given).parent}" if Path(given).name == FOLDER else ""
            yield f"{PROJECT} is {given}, where no folder {FOLDER} is, so no file of settings is read{holds}"
    elif not Path(FOLDER).is_dir():
        above = next((one for one in Path.cwd().parents if (one / FOLDER / FILES["secrets"]).is_file()), None)
        if above:
            yield f"the settings in {above / FOLDER} are not read here: start in {above}, or set {PROJECT} to it"


def _files(folder: Path) -> Iterator[str]:
    for name, meant in _meant(folder):
        if name != meant and not _is_same(folder / name, folder / meant):
            is_other = not name.lower().endswith((".toml", ".tml", ".tom", ".txt"))
            form = ", in TOML" if is_other else ""
            yield f"nobody reads {_shown(folder / name)}: the file for such settings is called {meant}{form}"


def _meant(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields each name in a folder that is that of a file of settings, or nearly, with the right name."""
    for name in _names(folder):
        stem, _, ending = name.strip().lower().partition(".")
        if ending in ENDINGS and (near := get_close_matches(stem, FILES, n=1, cutoff=0.75)):
            yield name, FILES[near[0]]


def _shown(path: Path) -> str:
    """Returns a path as it can be told from the right one: with a blank at its end, or a character without width."""
    return str(path) if path.name.isascii() and " " not in path.name else ascii(str(path))


def _names(folder: Path) -> list[str]:
    with suppress(OSError):  # whoever reads the settings says why it cannot be read
        return sorted(os.listdir(folder))
    return []


def _is_same(one: Path, other: Path) -> bool:
    """Returns whether two names are one file, as where capitals do not count, or by a link."""
    with suppress(OSError):
        return os.path.samefile(one, other)
    return False
