"""Settings have bounds, and those that nobody reads are named: before any request, exit 2, and the variable."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.sync.unknown import unknown_settings
from gapless.sources import SOURCES
from gapless.sources._extract.settings import Setting
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]
NAMES = list(SOURCES)
NUMBERS = [
    (name, parameter.name)
    for name, source in SOURCES.items()
    for parameter in signature(source.build).parameters.values()
    if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)
]
"""Every number that a source can be told, whoever declared it."""


def gapless(*arguments: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, list(arguments))
    return told.exit_code, " ".join(told.output.split())


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "-inf", "1e300"])
def test_numbers_have_bounds(wrong: str, world: Begin) -> None:
    """Of every source, the smallest that is wrong and what is no number at all; the vendor is not asked."""
    for name, setting in NUMBERS:
        here = world(subject(name).filled()).set(**{setting.upper(): wrong})
        code, told = gapless("sync", name)
        assert (code, here.asked(), setting.upper() in told) == (2, 0, True), told
        here.monkeypatch.delenv(setting.upper())


def test_bounds_are_allowed() -> None:
    """And nothing beyond them."""
    one = Setting("n", int, 5, least=1, most=9, unit="seconds")
    assert [one.checked("N", value) for value in (1, 9)] == [1, 9]
    for value in (0, 10):
        with pytest.raises(ValueError, match=f"N is {value}; it must be between 1 and 9 seconds"):
            one.checked("N", value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "0001-01-01T00:00+05:00"],
        ["--until", "9999-12-31T23:59:59-05:00"],
        ["--every", "15"],
        ["--every", "9e9d"],
        ["--every", "99999999999d"],
        ["--every", "-15m"],
        ["--every", "nanm"],
    ],
)
def test_options_have_bounds(arguments: list[str], world: Begin) -> None:
    """Times that UTC does not have, and intervals without a unit, which would be seconds."""
    here = world(subject(NAMES[0]).filled())
    code, told = gapless("sync", here.name, *arguments)
    assert (code, here.asked(), arguments[0] in told) == (2, 0, True), told


def test_a_part_of_the_keys_is_wrong(world: Begin) -> None:
    """None of them leaves a source out; some of them are a mistake."""
    for name, source in SOURCES.items():
        here = world(subject(name).filled())
        for needed in source.needs[1:]:
            here.monkeypatch.delenv(needed.upper(), raising=False)
        code, told = gapless("sync")
        assert (code, here.asked()) == (2, 0) if len(source.needs) > 1 else (0, here.asked()), told
        for needed in source.needs:
            here.monkeypatch.delenv(needed.upper(), raising=False)


@pytest.mark.parametrize("failed", [True, pytest.param(False, marks=pytest.mark.sweep)])
def test_keys_that_are_gone(world: Begin, failed: bool) -> None:
    """While what they brought is here: the sync of the others says it, and is no success after a failure."""
    first, second = world(subject(NAMES[0]).filled()), world(subject(NAMES[1]).filled())
    for needed in {need for name in NAMES[2:] for need in SOURCES[name].needs}:
        first.monkeypatch.delenv(needed.upper(), raising=False)
    first.synced()
    if failed:
        first.fake.failing["/"] = 401
        assert first.sync().outcome == "failed"
    for needed in SOURCES[first.name].needs:
        first.monkeypatch.delenv(needed.upper())
    code, told = gapless("sync")
    said = (f"{first.name}: skipped" in told, "although its tables are here" in told)
    assert (code, said) == (1 if failed else 0, (True, True)), told
    assert ("not set, and its last sync failed: GET" in " ".join(told.split())) == failed, told
    second.assert_exact()


def test_settings_that_nobody_reads(world: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables, keys and sections that are nearly ours, with the one that was meant; others' variables are not."""
    name = NAMES[0]
    here = world(subject(name).filled())
    folder = tmp_path / "project" / ".dlt"
    folder.mkdir(parents=True)
    lines = [f"[source.{name}]", "x = 1", f"[sources.{name}]", "requests_per_minute = 5", "[gaples]", "y = 1"]
    (folder / "config.toml").write_text("\n".join(lines))
    monkeypatch.setenv("DLT_PROJECT_DIR", str(folder.parent))
    here.set(**{f"{name.upper()}_REQUEST_PER_MINUTE": "5", f"{name.upper()}_HOME": "/", "GAPLESS_PUBLSH": "x"})
    ended = warm.run(
        [sys.executable, "-m", "gapless.pipelines", "sync", name]
    )  # as dlt finds its files once a process
    told = ended.stderr
    assert ended.returncode == 0, told
    for meant in (
        f"the variable {name.upper()}_REQUEST_PER_MINUTE is no setting, and nobody reads it;"
        f" {name.upper()}_REQUESTS_PER_MINUTE is one",
        "the variable GAPLESS_PUBLSH is no setting, and nobody reads it; GAPLESS_PUBLISH is one",
        "the section [source] in .dlt is no setting, and nobody reads it; [sources] is one",
        f"requests_per_minute in the section [sources.{name}] in .dlt is no setting, and nobody reads it;"
        f" {name}_requests_per_minute is one",
        "the section [gaples] in .dlt is no setting, and nobody reads it; [gapless] is one",
    ):
        assert meant in told, told
    assert f"{name.upper()}_HOME" not in told


def test_our_own_settings_are_known(world: Begin) -> None:
    """Those of the tests' environment and every documented one."""
    for name in SOURCES:
        world(subject(name).filled())
    assert list(unknown_settings(SOURCES)) == []
