"""The table of attacks is true of its names: each attack is played by tests that exist, and all of them hold."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.docs.security import NOT_YET, PAGE, ROOT, Attack, attacks, result, written

ATTACKS = attacks(PAGE.read_text())


@cache
def names_in(file: Path) -> frozenset[str]:
    """The functions of a file that pytest collects as tests."""
    if not file.exists() or not file.name.startswith("test_"):
        return frozenset()
    return frozenset(node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef))


def absent(names: tuple[str, ...]) -> list[str]:
    """Those that are no test."""
    return [name for name in names if name.split("::")[1] not in names_in(ROOT / name.split("::")[0])]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_an_attack_is_played(attack: Attack) -> None:
    """By tests that are there; what stands on the page is the result of a run in which all of them passed."""
    assert absent(attack.tests) == []
    assert attack.result.startswith("holds, "), "python -m tests.docs.security plays it"


def test_every_row_is_read() -> None:
    """A row that is written in another way would not be played, and nobody would notice."""
    section = PAGE.read_text().split("\n## Attacks\n")[1]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) - 1 == len(ATTACKS) > 10
    assert len({attack.what for attack in ATTACKS}) == len(ATTACKS)


def test_a_test_that_is_gone_is_noticed() -> None:
    """The twin: neither a file nor a name that is not there counts, nor a function that is no test."""
    gone = ("tests/unit/test_nowhere.py::test_x", "tests/docs/test_security_page.py::test_x")
    there = "tests/docs/test_security_page.py::test_every_row_is_read"
    assert absent((*gone, there, "tests/docs/security.py::main")) == [*gone, "tests/docs/security.py::main"]


def test_what_is_written() -> None:
    """How many cases held; else which test failed, or was not played; other rows stay as they are."""
    page = (
        "| one | holds, 9 cases | `tests/a.py::test_a` `tests/a.py::test_b` |\n| two | x | `tests/a.py::test_a` |\n"
    )
    one, two = attacks(page)
    assert (one.tests, two.what) == (("tests/a.py::test_a", "tests/a.py::test_b"), "two")
    both = {"tests/a.py::test_a": Counter(passed=2), "tests/a.py::test_b": Counter(passed=1)}
    assert (result(one, both), result(two, {"tests/a.py::test_a": Counter(passed=1)})) == (
        "holds, 3 cases",
        "holds, 1 case",
    )
    assert result(one, {**both, "tests/a.py::test_b": Counter(passed=8, failed=1)}) == "**does not hold**: test_b"
    assert result(one, {"tests/a.py::test_a": Counter(passed=1)}) == f"{NOT_YET}: test_b"
    assert result(two, {"tests/a.py::test_a": Counter(skipped=1)}) == f"{NOT_YET}: test_a"
    assert written(page, {"one": "holds, 3 cases"}) == page.replace("9", "3")
