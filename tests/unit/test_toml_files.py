"""dlt's TOML files are read as people's editors write them; one that cannot be read is named, with the line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.configuration.providers.toml import ConfigTomlProvider, SecretsTomlProvider, TomlProviderReadException

from gapless.pipelines import redaction
from gapless.pipelines.destinations._dlt import config
from gapless.pipelines.errors import WrongSettings

GOOD = '# commenté\n[sources.acme]\nacme_api_key = "canary"\n'
READ = {
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "Windows": GOOD.replace("\n", "\r\n").encode(),
    "old Mac": GOOD.replace("\n", "\r").encode(),
}
WRONG = {
    "UTF-16": (GOOD.encode("utf-16"), "line 1: this is UTF-16; save the file as UTF-8"),
    "Latin-1": (b"\n" + GOOD.encode("latin-1"), "line 2: this is not UTF-8; save the file as UTF-8"),
    "no quotes": (b"[a]\nkey = canary\n", "line 2: Invalid value; expected lines such as"),
    "typographic quotes": ("[a]\nkey = “canary”\n".encode(), "line 2: Invalid value; expected"),
    "open bracket": (b"\n[canary\nx = 1\n", "line 2: Expected ']'"),
    "twice": (b"[a]\nkey = 'canary'\nkey = 'canary'\n", "line 3: Cannot overwrite a value; expected"),
    "a shell's": (b"export KEY=canary\n", "line 1: Expected '=' after a key"),
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The project's folder and that of the machine."""
    (tmp_path / "here").mkdir()
    (tmp_path / "global").mkdir()
    return tmp_path / "here", tmp_path / "global"


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_what_editors_write(content: bytes, folders: tuple[Path, Path]) -> None:
    """It is read in both places."""
    for folder in folders:
        (folder / "secrets.toml").write_bytes(content)
        provider = SecretsTomlProvider(*map(str, folders))
        assert provider.get_value("acme_api_key", str, "", "sources", "acme")[0] == "canary"
        (folder / "secrets.toml").unlink()


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_read(content: bytes, said: str, folders: tuple[Path, Path]) -> None:
    """The one file that is wrong, the line and what is expected are said in one line, and no value."""
    for name, provider in (("secrets.toml", SecretsTomlProvider), ("config.toml", ConfigTomlProvider)):
        for wrong, right in (folders, folders[::-1]):
            (wrong / name).write_bytes(content)
            (right / name).write_text("")
            with pytest.raises(TomlProviderReadException) as raised:
                provider(*map(str, folders))
            told = str(raised.value).splitlines()[-1]
            assert told.startswith(f"{wrong / name}, {said}")
            assert "canary" not in told


def test_a_file_that_is_a_folder(folders: tuple[Path, Path]) -> None:
    """Docker makes one where the file to mount is not there; keys would be missing without a reason."""
    (folders[0] / "secrets.toml").mkdir()
    with pytest.raises(TomlProviderReadException, match=r"secrets\.toml cannot be read: Is a directory"):
        SecretsTomlProvider(*map(str, folders))


def test_a_file_that_never_ends(folders: tuple[Path, Path]) -> None:
    """A pipe that nobody writes to, and a device: to read one would wait for ever."""
    file = folders[0] / "secrets.toml"
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        make(file)
        with pytest.raises(TomlProviderReadException, match=r"secrets\.toml is a pipe or a device"):
            SecretsTomlProvider(*map(str, folders))
        file.unlink()


@pytest.fixture
def read_again_at_the_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """dlt's configuration as other tests know it."""
    before = dlt.config  # dlt reads its files when it is first asked
    assert before is not None
    yield
    monkeypatch.undo()
    config.read_again()


@pytest.mark.usefixtures("read_again_at_the_end")
def test_files_are_read_again(tmp_path: Path) -> None:
    """A changed key is used and redacted; a broken file is named, and what was read before stays."""
    file = tmp_path / ".dlt" / "secrets.toml"
    file.parent.mkdir()

    def key() -> Any:
        return dlt.secrets.get("sources.acme.acme_api_key")

    for value in ("first-canary", "second-canary"):
        file.write_text(f'[sources.acme]\nacme_api_key = "{value}"')
        redaction.register_secrets(again=True)
        assert (key(), redaction.redact(f"x {value}")) == (value, "x ***")
    file.write_text("[sources.acme")
    with pytest.raises(WrongSettings, match=r"secrets\.toml, line 1: .*\.$"):
        redaction.register_secrets(again=True)
    assert key() == "second-canary"
