"""Makes the key of the tombstones at the first forgetting, and writes it where dlt finds it."""

from __future__ import annotations

import secrets
from pathlib import Path

from gapless.pipelines.config.secrets_file import add, secrets_file
from gapless.pipelines.errors import WrongSettings
from gapless.sources._ledger.erasure.key import SETTING


def new_key() -> str:
    """Returns a key of 256 random bits."""
    return secrets.token_urlsafe(32)


def write_key(key: str) -> Path:
    """Writes the key into `.dlt/secrets.toml`, for its owner alone; returns the file. Raises WrongSettings."""
    file = secrets_file()
    try:
        add(file, {"gapless": {"erasure_key": key}})
    except OSError as error:
        raise WrongSettings(
            f"{file} cannot be written ({error.strerror}), and without a key nothing can be forgotten for good. Set"
            f" {SETTING} to a secret text of your own, of 16 characters or more."
        ) from None
    return file.absolute()
