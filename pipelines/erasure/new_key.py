"""Makes the key of the tombstones at the first forgetting, and writes it where dlt finds it."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import tomlkit

from gapless.pipelines.errors import WrongSettings
from gapless.sources._files.writers import planted, refusal
from gapless.sources._ledger.erasure.key import SETTING

FILE = "secrets.toml"
OWNER = 0o600


def new_key() -> str:
    """Returns a key of 256 random bits."""
    return secrets.token_urlsafe(32)


def write_key(key: str, folder: Path) -> Path:
    """Writes the key into the file of secrets in dlt's folder of settings, for its owner alone; returns the file.

    What stands there stays. Raises WrongSettings where it cannot be written, or somebody else could have planted it.
    """
    file = folder / FILE
    problem = refusal(str(file)) or (planted(file) and f"{file} may have been planted by somebody else")
    if problem:
        raise WrongSettings(str(problem))
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        document = tomlkit.parse(file.read_text("utf-8-sig")) if file.exists() else tomlkit.document()
        section = document.setdefault("gapless", tomlkit.table())
        section["erasure_key"] = key
        _replace(file.resolve(), tomlkit.dumps(document))
    except (OSError, ValueError) as error:
        raise WrongSettings(
            f"{file} cannot be written ({error}), and without a key nothing can be forgotten for good. Set"
            f" {SETTING} to a secret text of your own, of 16 characters or more."
        ) from None
    return file


def _replace(file: Path, text: str) -> None:
    """Writes a file at once: a kill leaves the old one or the new one."""
    # Made for its owner alone, whatever the umask.
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        os.chmod(name, OWNER)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
