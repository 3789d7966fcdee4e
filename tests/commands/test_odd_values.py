"""Values as tired people paste them: refused with what was found and what was expected, or meant as written."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gapless.pipelines.config import unwritten
from gapless.pipelines.destinations.duckdb_file import path_problem
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.sync import unknown
from gapless.pipelines.sync.build import known
from gapless.pipelines.sync.unknown import unknown_settings
from gapless.sources import SOURCES
from gapless.sources._http.auth import added_twice, checked_base_url
from gapless.sources._http.errors import SettingError
from gapless.sources._ledger.shard import Shard
from gapless.sources.register import add_accounts
from tests.commands.test_full_disk import document
from tests.commands.test_settings import gapless
from tests.contract.conftest import NAMES
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]
FOREIGN = {
    "https://api.exa mple.com": "holds ' ' at its character 16",
    "https://api.example.com\n/v1": "holds '\\n' at its character 24",
    '"https://api.example.com"': "holds '\"' at its character 1",
    "'https://api.example.com'": 'holds "\'" at its character 1',
    "<https://api.example.com>": "holds '<' at its character 1",
    "https://$HOST/v1": "holds a $, and nothing replaces",
    "https://api.example.com\u200b": "holds '\\u200b' at its character 24",
    "https://\ufeffapi.example.com": "holds '\\ufeff' at its character 9",
}


@pytest.mark.parametrize(("url", "said"), FOREIGN.items(), ids=[ascii(url) for url in FOREIGN])
def test_what_no_address_has(url: str, said: str) -> None:
    """Blanks within, quotation marks and characters without width, with where they are."""
    with pytest.raises(SettingError, match=r"copy it anew|write it out") as refused:
        checked_base_url(url)
    assert said in str(refused.value.problem)


def test_what_is_around_an_address_does_no_harm() -> None:
    """Blanks and line ends, as a file or a variable brings them; hosts of other alphabets."""
    assert checked_base_url("  https://api.example.com/\r\n") == "https://api.example.com"
    assert checked_base_url("https://b\u00fccher.example") == "https://xn--bcher-kva.example"


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/gateway/api/v1"])
def test_a_base_url_with_the_path_that_is_added(path: str, world: Begin) -> None:
    """As it stands on a vendor's page: what to write, before any request; of every source."""
    for name in SOURCES:
        here = world(subject(name).filled()).alone()
        url = f"https://example.com{path}"
        code, told = gapless("sync", here.set(**{f"{name.upper()}_BASE_URL": url}).name)
        end = path.strip("/").removeprefix("gateway/")
        right = "https://example.com/gateway" if "gateway" in path else "https://example.com"
        assert (code, here.asked()) == (2, 0), told
        assert f"{name.upper()}_BASE_URL ends in /{end}, which is added to it: write {right}" in told, told


@pytest.mark.parametrize("path", ["", "/api/tines", "/my-api", "/apis", "/v1"])
def test_a_base_url_with_a_path_of_its_own(path: str) -> None:
    """A gateway may have one."""
    assert added_twice(f"https://api.example.com{path}", "api/v1") is None


@pytest.mark.slow
def test_numbers_are_said_as_they_are_written(world: Begin) -> None:
    """1000000000, not 1e+09; what TOML takes for a number the environment takes, too."""
    here = world(subject(NAMES[0]).filled()).alone()
    setting = f"{here.name.upper()}_REQUESTS_PER_MINUTE"
    for wrong in ("9000000", "-1000000"):
        code, told = gapless("sync", here.set(**{setting: wrong}).name)
        assert (code, f"{setting} is {wrong}; it must be between 1 and 1,000,000" in told) == (2, True), told
    here.set(**{setting: "1_000_000"})
    assert gapless("sync", here.name)[0] == 0


def test_a_copy_that_would_be_a_folder(world: Begin) -> None:
    """The slash at its end says that somebody thinks of a folder."""
    here = world(subject(NAMES[0]).filled()).alone().set(GAPLESS_PUBLISH="copies/")
    code, told = gapless("sync", here.name)
    assert (code, here.asked()) == (2, 0), told
    assert "GAPLESS_PUBLISH is copies/, as a folder is written; expected the path of a file." in told
    assert "GAPLESS_PUBLISH is copies/" in gapless("doctor")[1]


def test_records_that_would_be_kept_for_no_time(world: Begin) -> None:
    """Of every source, whether it has a look-back or not."""
    for name in SOURCES:
        here = world(subject(name).filled()).set(**{f"{name.upper()}_KEEP": "0d"})
        code, told = gapless("sync", name)
        assert (code, f"{name.upper()}_KEEP: '0d' would keep nothing; expected days, such as 400d" in told) == (
            2,
            True,
        )
        here.monkeypatch.delenv(f"{name.upper()}_KEEP")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "5 is no vendor's name"),
        (True, "True is no vendor's name"),
        ({"key": "canary"}, "a section is no vendor's name"),
        (["canary"], "a list is no vendor's name"),
        ("Tines ", "'Tines ' is no vendor's name"),
    ],
)
def test_an_account_of_something_else(value: object, said: str) -> None:
    """What was found in place of a vendor's name, and not what it holds, which may be a key."""
    (problem,) = add_accounts(dict(SOURCES), {"extra": value})
    assert problem.startswith(f"[accounts] extra: {said}; expected one of {NAMES[0]}, "), problem
    assert "canary" not in problem


def test_an_account_that_is_not_in_the_settings() -> None:
    """It is no slip in the vendor's name: the line that is missing is said."""
    name = f"{NAMES[0]}_eu"
    with pytest.raises(WrongSettings, match=rf"add {name} = .{NAMES[0]}. there, in .dlt/config.toml") as refused:
        known([name])
    assert "Did you mean" not in str(refused.value)
    with pytest.raises(WrongSettings, match=rf"Did you mean {NAMES[0]}\?$"):
        known([f"{NAMES[0]}s"])


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_a_sync_that_could_not_even_be_noted(first: bool, world: Begin) -> None:
    """The file of the note is there and empty, as where the state folder's disk is full, too."""
    here = world(subject(NAMES[0]).filled()).alone()
    if not first:
        here.synced()
    note = Target.find("duckdb").note_file(here.name, Shard())
    note.parent.mkdir(exist_ok=True, parents=True)
    note.touch()
    try:
        found = document("gaps", here.name)
        (gap, problem) = (
            next(one for one in found[key] if one["kind"] == "not asked") for key in ("gaps", "problems")
        )
    finally:
        unwritten.clear(note)
    said = "could not write to the database: no reason could be noted"
    assert said in gap["why"]
    assert said in problem["message"], problem


PLACES: list[tuple[dict[str, str], str, str]] = [
    ({"DESTINATION__DUCKDB__CREDENTIALS": "a.duckdb"}, "", "a.duckdb"),
    ({"DESTINATION__DUCKDB__CREDENTIALS__DATABASE": "a.duckdb"}, "", "a.duckdb"),
    ({}, '[destination.duckdb]\ncredentials = "a.duckdb"', "a.duckdb"),
    ({}, '[destination.duckdb]\ncredentials = "duckdb:///a.duckdb"', "a.duckdb"),
    ({}, '[destination.duckdb.credentials]\ndatabase = "a.duckdb"', "a.duckdb"),
    ({"DESTINATION__DUCKDB__CREDENTIALS": ""}, "", "gapless.duckdb"),
    ({"DESTINATION__DUCKDB__CREDENTIALS__DATABASE": ""}, "", "gapless.duckdb"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "secrets", "file"), PLACES, ids=[f"{one[0] or one[1]}" for one in PLACES])
def test_where_the_file_may_be_named(
    variables: dict[str, str], secrets: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every form that dlt takes, each in a process of its own, as dlt reads its files once."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "secrets.toml").write_text(secrets)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ended = warm.run([sys.executable, "-m", "gapless.pipelines", "status", "--json"])
    assert json.loads(ended.stdout)["file"] == str(tmp_path / file), ended.stderr


@pytest.mark.slow
def test_credentials_in_the_file_that_is_no_secret(tmp_path: Path) -> None:
    """dlt refuses them there; it is said where they belong."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text('[destination.duckdb]\ncredentials = "a.duckdb"')
    ended = warm.run([sys.executable, "-m", "gapless.pipelines", "status"])
    said = (
        "destination.duckdb.credentials stands in config.toml, where dlt takes no credentials. Move it to"
        " secrets.toml beside it, or set DESTINATION__DUCKDB__CREDENTIALS."
    )
    assert (ended.returncode, said in ended.stderr) == (2, True), ended.stderr


UNREAD = {
    "DESTINATION__DUCKDB": "is no setting, and nobody reads it; DESTINATION__DUCKDB__CREDENTIALS is one",
    "DESTINATION__DUCKDB__DATABASE": "is no setting, and nobody reads it; DESTINATION__DUCKDB__CREDENTIALS is one",
    "DESTINATION__POSTGRES__PATH": "is no setting, and nobody reads it; DESTINATION__POSTGRES__CREDENTIALS is one",
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_variable_that_names_no_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the database is made in the working folder, without a word."""
    monkeypatch.setenv(name, "x.duckdb")
    assert [*unknown_settings([])] == [f"the variable {name} {UNREAD[name]}"]


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("name", ["DESTINATION__DUCKDB__CREDENTIALS", "DESTINATION__DUCKDB__CREDENTIALS__DATABASE"])
def test_an_empty_variable_is_said(name: str, blank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a template leaves one where its own variable is not set."""
    monkeypatch.setenv(name, blank)
    assert [*unknown_settings([])] == [f"the variable {name} is empty, and counts as not set"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"destination": {"duckdb": "x"}},
            "duckdb = … in the section [destination] is no setting, and nobody reads it",
        ),
        (
            {"destination": {"duckdb": {"database": "x"}}},
            "database in the section [destination.duckdb] is no setting",
        ),
        ({"duckdb": {"credentials": "x"}}, "the section [duckdb] in .dlt is no setting, and nobody reads it"),
    ],
)
def test_a_line_that_names_no_file(document: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in a file of settings."""
    monkeypatch.setattr(unknown, "documents", lambda: [document])
    (found,) = unknown_settings([])
    assert found.startswith(said), found
    assert "[destination.duckdb]" in found


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("'a.duckdb'", "has a quotation mark at its beginning or end"),
        ('"/data/a.duckdb"', "there is no folder"),
        (" a.duckdb", "has a blank at its beginning or end"),
        ("a.duckdb\n", "has a blank at its beginning or end"),
        ('{"database": "a.duckdb"}', "looks like JSON, and a path is expected"),
        ("$HOME/a.duckdb", "nothing replaces what begins with $ in a setting"),
        ("${DATA}/a.duckdb", "nothing replaces what begins with $ in a setting"),
    ],
)
def test_paths_as_they_are_pasted(path: str, said: str, world: Begin) -> None:
    """Nothing is made under such a name."""
    here = world(subject(NAMES[0]).filled()).alone().set(DESTINATION__DUCKDB__CREDENTIALS=path)
    code, told = gapless("sync", here.name)
    assert (code, here.asked()) == (2, 0), told
    assert said in told or "has a quotation mark" in told, told
    assert [*here.folder.iterdir()] == []


@pytest.mark.slow
def test_a_database_with_such_a_name(world: Begin) -> None:
    """One that is there already goes on."""
    here = world(subject(NAMES[0]).filled()).alone()
    here.synced()
    (here.folder / "gapless.duckdb").rename(here.folder / "'mine'")
    here.set(DESTINATION__DUCKDB__CREDENTIALS="'mine'")
    assert gapless("sync", here.name)[0] == 0


@pytest.mark.parametrize("pasted", ['"{}"', "'{}'", "Bearer {}", '["{}"]', '{{"key": "{}"}}'])
def test_what_is_pasted_around_a_key(pasted: str, world: Begin) -> None:
    """Of every source, as `docker --env-file` keeps quotation marks, and a list in TOML becomes a text: named before
    any request, and never quoted."""
    for name, source in SOURCES.items():
        here = world(subject(name).filled())
        need = next(need.upper() for need in source.needs if not need.endswith("_url"))
        here.set(**{need: pasted.format("canary-key")})
        code, told = gapless("sync", name)
        assert (code, here.asked(), need in told, "canary" in told) == (2, 0, True, False), told
        assert re.search("no part of it|one text was expected", told)


@pytest.mark.slow
def test_a_key_in_the_file_that_is_no_secret(tmp_path: Path, world: Begin) -> None:
    """dlt refuses it there; it is said where it belongs, and not what it is."""
    here = world(subject(NAMES[0]).filled()).alone()
    need = next(need for need in SOURCES[here.name].needs if not need.endswith("_url"))
    here.monkeypatch.delenv(need.upper())
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text(f'[sources.{here.name}]\n{need} = "canary"')
    ended = warm.run([sys.executable, "-m", "gapless.pipelines", "sync", here.name])
    said = f"sources.{here.name}.{need} stands in config.toml, where dlt takes no key; move it to secrets.toml"
    assert (ended.returncode, said in ended.stderr, "canary" in ended.stderr) == (2, True, False), ended.stderr


ORDERS = {
    f"{NAMES[0]} sync": f"{NAMES[0]} is a source, and a command comes first, as in gapless sync {NAMES[0]}",
    "--json status": "--json stands behind a command, as in gapless status --json",
    f"reset {NAMES[0]}": "reset is a part of a command: gapless state reset",
    "apply": "apply is a part of a command: gapless privacy apply",
    f"sync {NAMES[0]},{NAMES[1]}": f"Names are separated by blanks: {NAMES[0]} {NAMES[1]}",
    f"sync {NAMES[0]}-eu": f"add {NAMES[0]}_eu =",
}


@pytest.mark.parametrize("line", ORDERS)
def test_words_in_another_order(line: str) -> None:
    """What to type instead, and no guess at another command."""
    code, told = gapless(*line.split())
    assert (code, ORDERS[line] in told.replace(" │ │ ", " "), "Did you mean" in told) == (2, True, False), told


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({f"{NAMES[0].upper()}_PRIVACY": "x"}, f"{NAMES[0]}_privacy is one"),
        ({"sources": {NAMES[0]: {f"{NAMES[0].upper()}_PRIVACY": "x"}}}, f"{NAMES[0]}_privacy is one"),
        ({"sources": {NAMES[0]: {f"{NAMES[0]}_privacy ": "x"}}}, f"{NAMES[0]}_privacy is one"),
        ({"sources": {NAMES[0]: {f"{NAMES[0]}\u200b_privacy": "x"}}}, f"{NAMES[0]}_privacy is one"),
        ({"Sources": {}}, "[sources] is one"),
    ],
)
def test_names_that_look_right_in_a_file(
    document: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Capitals as in the environment, a blank at the end, a character without width."""
    monkeypatch.setattr(unknown, "documents", lambda: [document])
    (found,) = unknown_settings([NAMES[0]])
    assert found.endswith(said), found


def test_a_setting_that_needs_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which messages are sent, and no address that they go to."""
    monkeypatch.setenv("GAPLESS_WEBHOOK_ON", "failed")
    said = "GAPLESS_WEBHOOK_ON has no effect without GAPLESS_WEBHOOK_URL"
    assert [*unknown_settings([])] == [said]
    for file in ({"gapless": {"gapless_webhook_url": "x"}}, {"gapless_webhook_url": "x"}):
        monkeypatch.setattr(unknown, "documents", lambda file=file: [file])
        assert [*unknown_settings([])] == []
    monkeypatch.setattr(unknown, "documents", lambda: [{"gapless": {"gapless_webhook_url": ""}}])
    assert [*unknown_settings([])] == [said]


@pytest.mark.parametrize("given", ["~/state", "$HOME/state", "${HOME}/state"])
def test_a_state_folder_that_no_shell_has_seen(given: str, world: Begin) -> None:
    """Else the lock and the working files would be elsewhere, without a word."""
    here = world(subject(NAMES[0]).filled()).alone().set(XDG_STATE_HOME=given)
    code, told = gapless("sync", here.name)
    assert (code, here.asked()) == (2, 0), told
    assert f"XDG_STATE_HOME: nothing replaces the {given[0]} of '{given}' in a setting; write the whole path." in told


def test_a_path_in_another_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is right, and LC_ALL=C is what is wrong."""
    assert "LC_ALL" not in str(path_problem("d\udcc3\udca4.duckdb"))
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert str(path_problem("d\udcc3\udca4.duckdb")).endswith("reads names as ascii: set LC_ALL=C.UTF-8")
