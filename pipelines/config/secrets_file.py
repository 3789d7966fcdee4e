"""Writes settings into `.dlt/secrets.toml`, which only its owner may read. Knows no setting and no source."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from gapless.pipelines.config.folders import real_path
from gapless.pipelines.config.project import PROJECT, has_fallen_back
from gapless.pipelines.errors import WrongSettings
from gapless.sources._files.writers import refusal

Sections = Mapping[str, Mapping[str, str]]
"""Section, as `sources.acme`, -> its settings."""


def secrets_file() -> Path:
    """Returns the file of this folder, or of the one that DLT_PROJECT_DIR names; a checkout is neither."""
    folder = "." if has_fallen_back() else os.environ.get(PROJECT, ".")
    return Path(folder) / ".dlt" / "secrets.toml"


def add(file: Path, sections: Sections) -> None:
    """Sets these settings in `file` and leaves all others, comments too, as they are; the file's mode is 0600 then.

    Raises WrongSettings for a file that others can change, or that cannot be added to: nothing is written.
    """
    found = real_path(file)
    _make_folder(found.parent)
    document = _read(found)
    wanted = document.unwrap()
    try:
        for section, settings in sections.items():
            _merge(document, section, settings)
            _merge(wanted, section, settings)
        text = tomlkit.dumps(document)
        whole = tomllib.loads(text) == wanted
    except (TOMLKitError, ValueError, TypeError, AttributeError):
        whole = False
    # Not every form that TOML has can be added to, and a key of somebody's must not get lost.
    if not whole:
        raise WrongSettings(f"{file} has a form that cannot be added to. Write {', '.join(sections)} there by hand.")
    _replace(found, text.encode())


def _merge(document: MutableMapping[str, Any], section: str, settings: Mapping[str, str]) -> None:
    *above, last = section.split(".")
    for part in above:
        # A super table has no header of its own: [sources.acme] stands alone.
        document = document.setdefault(part, tomlkit.table(is_super_table=True))
    document.setdefault(last, tomlkit.table()).update(settings)


def _make_folder(folder: Path) -> None:
    """Makes the folder for settings, with a line that keeps the file with keys out of git."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
        (folder / ".gitignore").write_text("secrets.toml\n", encoding="utf-8")


def _read(file: Path) -> tomlkit.TOMLDocument:
    if problem := refusal(file):
        raise WrongSettings(problem)
    try:
        return tomlkit.parse(file.read_bytes().decode("utf-8-sig")) if file.exists() else tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError):
        # Not the parser's words: they may quote a key.
        raise WrongSettings(f"{file} is no TOML file, so nothing is written. Correct it, or remove it.") from None


def _replace(file: Path, content: bytes) -> None:
    """Writes a file of mode 0600 and puts it in place by one rename: a crash leaves the old one or the new one."""
    # mkstemp makes it for the owner alone, under a name that nobody can guess.
    handle, new = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, file)
    except BaseException:
        os.unlink(new)
        raise
