"""Finds the folder of dlt's settings: the working folder's own, or that of the checkout where it has none.

A key that gapless made itself is no setting that a person chose: it stands in the working folder all the same.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from gapless.pipelines.errors import WrongSettings
from gapless.sources._files.writers import refusal

PROJECT = "DLT_PROJECT_DIR"
"""dlt's variable for the folder in which `.dlt` is."""
CHECKOUT = Path(__file__).resolve().parents[2]
KEY = "GAPLESS_ERASURE_KEY"
OURS = {"secrets.toml", ".gitignore"}
"""What gapless writes into a folder `.dlt` that it made for a key."""
_fallen_back = list[str]()
"""The checkout, if this process took its settings although nobody named it."""


def use_checkout() -> None:
    """Sets dlt's folder to the checkout where the working folder has no settings; the key that it has stays known."""
    own = Path(".dlt")
    require_readable(Path(os.environ.get(PROJECT, ".")) / ".dlt")
    if PROJECT in os.environ and not has_fallen_back():
        return
    key = _only_key(own)
    if (own.is_dir() and key is None) or not (CHECKOUT / ".dlt").is_dir():
        return
    os.environ[PROJECT] = str(CHECKOUT)
    _fallen_back[:] = [str(CHECKOUT)]
    if key:
        os.environ.setdefault(KEY, key)


def require_readable(folder: Path) -> None:
    """Raises WrongSettings for a folder of settings that is there and cannot be read: no policy in it would count."""
    if os.path.lexists(folder) and not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
        what = "this user may not read it" if folder.is_dir() else "it is no folder, or a link to none"
        raise WrongSettings(f"{folder.absolute()}: {what}, so no setting in it would count.")


def has_fallen_back() -> bool:
    """Returns whether dlt's folder is the checkout's although nobody named it: nothing is written there."""
    return os.environ.get(PROJECT) in _fallen_back


def _only_key(folder: Path) -> str | None:
    """Returns the key of a folder `.dlt` in which nothing else stands; None: it has settings, or is not there."""
    try:
        if {one.name for one in folder.iterdir()} - OURS or refusal(folder / "secrets.toml"):
            return None
        found = tomllib.loads((folder / "secrets.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    key = found.get("gapless", {}).get("erasure_key") if isinstance(found.get("gapless"), dict) else None
    return key if isinstance(key, str) and found == {"gapless": {"erasure_key": key}} else None
