"""What counts as a secret among the parts of a database's credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.pipelines import redaction


def test_only_the_password_of_credentials_in_parts_is_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role is often called like this command; hidden, no message could name the command that helps."""
    parts = {"HOST": "127.0.0.1", "USERNAME": "gapless", "DATABASE": "birds", "PASSWORD": "canary-pear"}
    for name, value in parts.items():
        monkeypatch.setenv(f"DESTINATION__POSTGRES__CREDENTIALS__{name}", value)
    catalog = "postgresql://gapless:canary-plum@db.example.com/logs"
    monkeypatch.setenv("DESTINATION__DUCKLAKE__CREDENTIALS__CATALOG", catalog)
    (tmp_path / ".dlt").mkdir()
    toml = '[destination.redshift.credentials]\nhost = "localhost"\nusername = "gapless"\npassword = "canary-fig"\n'
    (tmp_path / ".dlt" / "secrets.toml").write_text(toml)
    redaction.register_secrets(again=True)
    said = "gapless sync birds: 127.0.0.1 localhost canary-pear canary-plum canary-fig"
    assert redaction.redact(said) == "gapless sync birds: 127.0.0.1 localhost *** *** ***"
