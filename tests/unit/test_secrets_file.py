"""Keys are added to `.dlt/secrets.toml` without a change to what stands there, for the owner's eyes alone."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from gapless.pipelines.config.secrets_file import add
from gapless.pipelines.errors import WrongSettings

NEW = {"sources.acme": {"acme_key": 'a "quoted" \\ kéy'}}
BEFORE = [
    "",
    '# mine\n[gapless]\nhook = "x" # secret\n',
    '[sources]\nhash = "h"\n\n[sources.other]\nkey = "k"\n',
    '[sources.acme]\nacme_key = "old"\nacme_id = "7"\n',
    '[sources.other]\nkey = "k"\n\n[gapless]\nhook = "x"\n\n[sources.third]\nkey = "k"\n',
    'sources.other.key = "k"\n',
    '\ufeff[gapless]\r\nhook = "x"\r\n',
]


@pytest.mark.parametrize("before", BEFORE, ids=range(len(BEFORE)))
def test_what_stands_there_stays(before: str, tmp_path: Path) -> None:
    """Every other setting and comment is there afterwards, in whatever form; the new one reads as typed."""
    file = tmp_path / "secrets.toml"
    file.write_bytes(before.encode())
    file.chmod(0o644)
    add(file, NEW)
    text = file.read_bytes().decode()
    expected = tomllib.loads(before.removeprefix("\ufeff").replace("\r\n", "\n"))
    expected.setdefault("sources", {}).setdefault("acme", {}).update(NEW["sources.acme"])
    assert tomllib.loads(text) == expected
    assert all(comment in text for comment in before.split("\n") if comment.startswith("#"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["secrets.toml"]


def test_a_folder_is_made_that_git_does_not_commit(tmp_path: Path) -> None:
    """With modes for the owner alone; a folder that is there keeps its files."""
    add(tmp_path / ".dlt" / "secrets.toml", NEW)
    folder = tmp_path / ".dlt"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "secrets.toml\n"
    (folder / ".gitignore").write_text("mine")
    add(folder / "secrets.toml", NEW)
    assert (folder / ".gitignore").read_text() == "mine"


@pytest.mark.parametrize(
    "before",
    ["[sources", "sources = 1", "sources = {other = {}}", '[[sources]]\nx = "1"', '[sources]\nacme = "text"'],
)
def test_a_file_that_cannot_be_added_to(before: str, tmp_path: Path) -> None:
    """It is left as it is, and the message quotes nothing of it."""
    file = tmp_path / "secrets.toml"
    file.write_text(f'key = "canary"\n{before}')
    with pytest.raises(WrongSettings) as error:
        add(file, NEW)
    assert file.read_text() == f'key = "canary"\n{before}'
    assert "canary" not in str(error.value)
    assert os.listdir(tmp_path) == ["secrets.toml"]


def test_a_file_that_others_can_change(tmp_path: Path) -> None:
    """No key is written where somebody else may name another host for it."""
    file = tmp_path / "secrets.toml"
    file.write_text("")
    file.chmod(0o666)
    with pytest.raises(WrongSettings, match="chmod"):
        add(file, NEW)
    assert file.read_text() == ""


def test_a_link_of_ours_stays_one(tmp_path: Path) -> None:
    """The file that it leads to is written."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "real.toml").write_text("")
    (tmp_path / "secrets.toml").symlink_to("keys/real.toml")
    add(tmp_path / "secrets.toml", NEW)
    assert (tmp_path / "secrets.toml").is_symlink()
    assert "acme_key" in (tmp_path / "keys" / "real.toml").read_text()
