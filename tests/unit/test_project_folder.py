"""Which folder's settings a command takes, and where it writes a key: never into a checkout that nobody named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapless.pipelines.config import project
from gapless.pipelines.config.secrets_file import add, secrets_file
from gapless.pipelines.errors import WrongSettings

KEY = "a key of 16 characters"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without settings, and a checkout that has some."""
    checkout, work = tmp_path / "checkout", tmp_path / "work"
    (checkout / ".dlt").mkdir(parents=True)
    (checkout / ".dlt" / "secrets.toml").write_text("[sources]\n")
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(project, "CHECKOUT", checkout)
    for name in (project.PROJECT, project.KEY):
        monkeypatch.setenv(name, "")
        del os.environ[name]
    return work


def found() -> tuple[str | None, str | None]:
    project.use_checkout()
    return os.environ.get(project.PROJECT), os.environ.get(project.KEY)


def test_a_key_beside_the_settings_of_a_checkout(work: Path) -> None:
    """It is written into the working folder, for its owner alone, and found there beside the checkout's settings."""
    checkout = str(work.with_name("checkout"))
    assert found() == (checkout, None)
    add(secrets_file(), {"gapless": {"erasure_key": KEY}})
    own = work / ".dlt"
    assert (own.stat().st_mode & 0o777, (own / "secrets.toml").stat().st_mode & 0o777) == (0o700, 0o600)
    assert Path(checkout, ".dlt", "secrets.toml").read_text() == "[sources]\n"
    assert found() == (checkout, KEY)


@pytest.mark.parametrize("text", ["", "[sources.x]\na = 1", f'[gapless]\nerasure_key = "{KEY}"\nb = 1', "[gapless"])
def test_settings_of_the_working_folder(work: Path, text: str) -> None:
    """They count alone, whatever they are."""
    (work / ".dlt").mkdir()
    (work / ".dlt" / "secrets.toml").write_text(text)
    assert found() == (None, None)
    assert secrets_file() == Path(".dlt/secrets.toml")


def test_a_folder_that_is_named(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that is written to, and may be a checkout."""
    checkout = work.with_name("checkout")
    monkeypatch.setenv(project.PROJECT, str(checkout))
    monkeypatch.setattr(project, "_fallen_back", [])
    assert found() == (str(checkout), None)
    assert secrets_file() == checkout / ".dlt" / "secrets.toml"


@pytest.mark.parametrize("made", ["a link to nothing", "a file"])
def test_a_folder_of_settings_that_cannot_be_read_is_refused(made: str, work: Path) -> None:
    """No privacy rule in it would count, and data would be stored in clear."""
    folder = work / ".dlt"
    if made == "a file":
        folder.write_text("")
    else:
        folder.symlink_to(work / "nowhere")
    with pytest.raises(WrongSettings, match="no setting in it would count"):
        project.use_checkout()
