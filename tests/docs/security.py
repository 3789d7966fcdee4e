"""`python -m tests.docs.security`: plays every attack of SECURITY.md and writes what came of it into its table.

To add an attack, add a row with `not tried yet` and the tests that play it, and run this. With words it runs the rows
that have one of them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "SECURITY.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| ((?:`tests/\S+::test_\w+` ?)+)\|$", re.MULTILINE)
HOLDS, NOT_YET = "holds", "not tried yet"


@dataclass(frozen=True)
class Attack:
    """One row of the table."""

    what: str
    result: str
    tests: tuple[str, ...]
    """`tests/….py::test_…`, without parameters."""


class Played:
    """A plugin of pytest: counts how the cases of each test ended."""

    def __init__(self) -> None:
        self.ends: dict[str, Counter[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.ends.setdefault(report.nodeid.split("[")[0], Counter())[report.outcome] += 1


def attacks(page: str) -> list[Attack]:
    """Returns the rows of the table."""
    return [Attack(what, result, tuple(re.findall(r"`(\S+)`", tests))) for what, result, tests in ROW.findall(page)]


def result(attack: Attack, ends: dict[str, Counter[str]]) -> str:
    """Returns what the page says of it: in how many cases it holds, which tests failed, or which were not played."""
    failed = [test for test in attack.tests if ends.get(test, Counter())["failed"]]
    missing = [test for test in attack.tests if not ends.get(test, Counter())["passed"]]
    cases = sum(ends[test]["passed"] for test in attack.tests if test in ends)
    if failed:
        return "**does not hold**: " + ", ".join(test.split("::")[1] for test in failed)
    if missing:
        return f"{NOT_YET}: " + ", ".join(test.split("::")[1] for test in missing)
    return f"{HOLDS}, {cases} {'case' if cases == 1 else 'cases'}"


def written(page: str, results: dict[str, str]) -> str:
    """Returns the page with these results, by the attack's name; other rows stay."""
    return ROW.sub(lambda row: f"| {row[1]} | {results.get(row[1], row[2])} | {row[3]}|", page)


def main(words: list[str]) -> int:
    """Returns 1 when an attack does not hold or was not played."""
    chosen = [
        attack for attack in attacks(PAGE.read_text()) if not words or any(word in attack.what for word in words)
    ]
    played = Played()
    tests = [str(ROOT / test) for attack in chosen for test in attack.tests]
    # Also what a run by default leaves out; in this process, as the plugin counts here.
    pytest.main(["-q", "-n", "0", "-m", "", "--rootdir", str(ROOT), *tests], plugins=[played])
    results = {attack.what: result(attack, played.ends) for attack in chosen}
    PAGE.write_text(written(PAGE.read_text(), results))  # it may have been edited meanwhile
    print(*(f"{told}: {what}" for what, told in results.items()), sep="\n")
    return int(not all(told.startswith(HOLDS) for told in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
