"""Files that were meant to hold settings and are read by nobody are named, with the name that is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.config import misnamed as misnamed_file
from gapless.pipelines.config import project
from gapless.pipelines.config.misnamed import absent, misnamed
from tests.commands.test_settings import gapless
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support.world import World

Begin = Callable[[Any], World]
SLIPS = {
    ".dlt/Config.toml": "config.toml",
    ".dlt/config.tml": "config.toml",
    ".dlt/confg.toml": "config.toml",
    ".dlt/config.toml.txt": "config.toml",
    ".dlt/secret.toml": "secrets.toml",
    ".dlt/secrets.yaml": "secrets.toml, in TOML",
    ".dlt/secrets": "secrets.toml, in TOML",
    ".dtl/config.toml": ".dlt",
    "dlt/secrets.toml": ".dlt",
    ".DLT/config.toml": ".dlt",
    ".ldt/secrets.toml": ".dlt",
    ".dlt /secrets.toml": ".dlt",
}
"""A file, and the name that was meant, with which the sentence ends."""
FINE = (
    ".dlt/config.toml", ".dlt/secrets.toml", ".dlt/config.toml.bak", ".dlt/example.secrets.toml", ".dlt/.gitignore",
    ".dlt/config.toml~", ".git/config", "dlt/config.py", "config.toml", ".venv/config.toml", "secrets.toml",
    ".dlt/secrets-old.toml", ".dlt/config_old.toml", ".dlt/config (1).toml", ".dlt/secrets2.toml", ".dlt/config.yaml",
    ".dlt/secrets.env", ".dlt/secrets", "dlt/secrets.toml", ".DLT/secrets.toml",
)  # fmt: skip
"""Files that are read, that nobody takes for settings, or that belong to another program."""


def put(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_in_a_name(name: str, tmp_path: Path) -> None:
    """One sentence: what nobody reads, and the right name."""
    put(tmp_path, name)
    (said,) = misnamed()
    what = name if "/" not in name or name.startswith(".dlt/") else name.partition("/")[0]
    assert (f"{tmp_path / what}: " in said) or f"'{tmp_path / what}': " in said
    assert said.endswith(f" {SLIPS[name]}") or said.endswith(f"{tmp_path}/{SLIPS[name]}"), said


def test_names_that_look_right(tmp_path: Path) -> None:
    """A blank at the end and a character without width are shown."""
    for name in (".dlt/config.toml ", ".dlt/secrets\u200b.toml"):
        put(tmp_path, name)
    assert [said.partition(": ")[0] for said in misnamed()] == [
        f"nobody reads '{tmp_path}/.dlt/config.toml '",
        f"nobody reads '{tmp_path}/.dlt/secrets\\u200b.toml'",
    ]


def test_other_files_are_not_named(tmp_path: Path) -> None:
    """Nor one name of two for the same file, as on a disk where capitals do not count."""
    for name in FINE:
        put(tmp_path, name)
    (tmp_path / ".dlt" / "Config.toml").symlink_to("config.toml")
    assert [*misnamed()] == []


OTHERS = (
    ".dbt/config.toml",
    ".elt/secrets.toml",
    ".alt/config.toml",
    ".dot/config.toml",
    ".dlt2/config.toml",
    ".dlt.old/config.toml",
)


@pytest.mark.parametrize("name", OTHERS)
def test_folders_of_other_programs(name: str, tmp_path: Path) -> None:
    """Their letters are not those of `.dlt`, which is not there."""
    put(tmp_path, name)
    assert [*misnamed()] == []


def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder, and a link to nothing."""
    (tmp_path / ".dlt" / "Config.toml").mkdir(parents=True)
    (tmp_path / ".dlt" / "secret.toml").symlink_to("nowhere")
    (tmp_path / "dlt" / "config.toml").mkdir(parents=True)
    assert [*misnamed()] == []


def test_a_folder_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name in it is compared, however many there are."""
    put(tmp_path, ".dlt/config.toml")
    for number in range(200):
        (tmp_path / f"dlt{number}").touch()
    compared = list[str]()
    monkeypatch.setattr(misnamed_file, "get_close_matches", lambda word, *_, **__: compared.append(word) or [])
    assert ([*misnamed()], compared) == ([], ["config"])


def test_secrets_in_the_folder_itself(tmp_path: Path) -> None:
    """Said where a key is missing, as they may be another program's."""
    put(tmp_path, "secrets.toml")
    (tmp_path / ".dlt").mkdir()
    assert [*absent()] == [f"nobody reads {tmp_path}/secrets.toml: its place is {tmp_path}/.dlt/secrets.toml"]
    put(tmp_path, ".dlt/secrets.toml")
    assert [*absent()] == []


@pytest.mark.slow
def test_every_command_says_it(world: Begin, tmp_path: Path) -> None:
    """On stderr, as the database may be named there; the doctor as a check that failed."""
    world(subject(NAMES[0]).filled()).alone()
    put(tmp_path, ".dlt/Config.toml")
    said = f"nobody reads {tmp_path}/.dlt/Config.toml: the file for such settings is called config.toml"
    for command in ("sync", "status", "gaps"):
        ended = CliRunner().invoke(app, [command, "--json"])
        assert (ended.exit_code, ended.stderr.count(said)) == (0, 1), ended.stderr
    ended = CliRunner().invoke(app, ["doctor", "--json"])
    found = [one for one in json.loads(ended.stdout)["checks"] if one["name"] == "settings"]
    assert (ended.exit_code, ended.stderr.count(said)) == (1, 0)
    assert found == [{"name": "settings", "result": "fail", "found": said, "mends": "Rename it, or take it away."}]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["sync"], ["sync", NAMES[0]]], ids=["sync", "one"])
def test_a_folder_without_settings(command: list[str], world: Begin, tmp_path: Path) -> None:
    """It is said where keys are missing, and by the doctor; with the environment alone a sync is silent about it."""
    here = world(subject(NAMES[0]).filled()).alone()
    said = f"DLT_PROJECT_DIR is {tmp_path}, where no folder .dlt is, so no file of settings is read"
    assert said not in gapless(*command)[1]
    here.monkeypatch.delenv(subject(NAMES[0]).source.needs[0].upper())
    code, told = gapless(*command)
    assert (code, said in told) == (2, True), told
    assert f"- settings: {said}" in gapless("doctor")[1]
    here.set(DLT_PROJECT_DIR=str(tmp_path / ".dlt"))
    put(tmp_path, ".dlt/secrets.toml")
    assert f"{said.replace(str(tmp_path), f'{tmp_path}/.dlt')}; set it to {tmp_path}" in gapless(*command)[1]


def test_settings_of_the_folder_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was started below them says where they are."""
    put(tmp_path, ".dlt/secrets.toml")
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(tmp_path / "jobs")
    monkeypatch.delenv(project.PROJECT)
    (said,) = absent()
    assert said.startswith(f"the settings in {tmp_path}/.dlt are not read here: start in {tmp_path}, or set ")
