"""Every mutant still fits the code: `python -m tests.lab.mutants` runs them, which takes long; this takes no time."""

from __future__ import annotations

from pathlib import Path

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


def test_no_two_mutants_have_one_name() -> None:
    """The report names them."""
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)
