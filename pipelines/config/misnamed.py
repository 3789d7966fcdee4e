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
LONGEST = 24
"""Characters of a name that may be meant for one of these: a folder may hold many thousands of other files."""


def misnamed() -> Iterator[str]:
    """Yields a sentence for each file or folder that nobody reads, with the name that is read."""
    here = _looked_into()
    yield from _files(here / FOLDER)
    if os.path.lexists(here / FOLDER):
        return
    for name in _names(here):
        # The same letters: `.elt`, `.dbt` and `.alt` are of other programs.
        if sorted(_letters(name)) == ["d", "l", "t"] and any(file == meant for file, meant in _meant(here / name)):
            yield f"nobody reads the folder {_shown(here / name)}: the one for settings is called {FOLDER}"


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
    place = _looked_into() / FOLDER / FILES["secrets"]
    if not place.exists() and (wrong := _looked_into() / FILES["secrets"]).is_file():
        yield f"nobody reads {wrong}: its place is {place}"


def _looked_into() -> Path:
    """Returns the folder in which settings are looked for; never a checkout that nobody named."""
    return Path("." if has_fallen_back() else os.environ.get(PROJECT, "."))


def _files(folder: Path) -> Iterator[str]:
    for name, meant in _meant(folder):
        is_toml = name.lower().strip().endswith(".toml")
        # Another form beside the right file is somebody's template, or of another program.
        if name == meant or _is_same(folder / name, folder / meant) or (not is_toml and (folder / meant).exists()):
            continue
        form = "" if is_toml or name.lower().endswith((".tml", ".tom", ".txt")) else ", in TOML"
        yield f"nobody reads {_shown(folder / name)}: the file for such settings is called {meant}{form}"


def _meant(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields each file in a folder whose name is that of a file of settings, or nearly, with the right name."""
    for name in _names(folder):
        stem, _, ending = name.strip().lower().partition(".")
        near = get_close_matches(_letters(stem), FILES, n=1, cutoff=0.75) if ending in ENDINGS else []
        if near and (folder / name).is_file():
            yield name, FILES[near[0]]


def _letters(name: str) -> str:
    """Returns the letters of a name, without dots and what nobody sees; none of a long one, and of a kept copy."""
    seen = [one for one in name.lower() if one.isprintable() and not one.isspace() and one != "."]
    # Whoever keeps a copy adds to its name: config-old, config (1), secrets2.
    return "".join(seen) if len(name) <= LONGEST and all(map(str.isalpha, seen)) else ""


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
