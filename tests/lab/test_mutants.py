"""Every mutant still fits the code: `python -m tests.lab.mutants` runs them, which takes long; this takes no time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.mutants import __main__ as program
from tests.lab.mutants.table import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


def test_every_snippet_stands_once_in_its_file() -> None:
    """Else the mutant would change nothing, or too much."""
    places = {
        mutant.name: [_text(mutant.file).count(old) for old, _ in mutant.edits]
        for mutant in MUTANTS
        if any(_text(mutant.file).count(old) != 1 for old, _ in mutant.edits)
    }
    assert places == {}


def _text(file: str) -> str:
    path = ROOT / file
    return path.read_text() if path.exists() else ""


def test_every_mutant_has_its_tests() -> None:
    """The files and folders that must notice it are there."""
    named = {file for mutant in MUTANTS for file in mutant.tests.partition(" -k ")[0].split()}
    assert [file for file in sorted(named) if not (ROOT / file).exists()] == []


def test_every_word_selects_a_test() -> None:
    """One of the words after -k stands in the name of a test: pytest takes no test at all for a mutant unnoticed."""
    assert [mutant.name for mutant in MUTANTS if not _selected(mutant.tests)] == []


def _selected(tests: str) -> list[str]:
    files, _, words = tests.partition(" -k ")
    places = [ROOT / file for file in files.split()]
    modules = [each for place in places for each in ([place] if place.is_file() else place.rglob("test_*.py"))]
    names = [name for module in modules for name in re.findall(r"def (test_\w+)", module.read_text())]
    return [name for name in names if any(word in name for word in re.split(" or | and ", words))]


def test_no_two_mutants_have_one_name() -> None:
    """The report names them."""
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("word", ["--help", "--no-such-option"])
def test_only_a_run_of_all_writes_the_report(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks how it is used finds the report as it was."""
    monkeypatch.setattr(program, "REPORT", tmp_path / "REPORT.md")
    monkeypatch.setattr("sys.argv", ["mutants", word])
    with pytest.raises(SystemExit):
        program.main()
    assert [*tmp_path.iterdir()] == []
