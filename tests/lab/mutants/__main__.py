"""`python -m tests.lab.mutants [NAME...]`: applies each sabotage in a copy of the project, runs the tests that must
notice, and prints who did.

Runs all of them in as many lanes as there are cores and writes REPORT.md; with names (or parts of names) just those,
and no report. A test that is red without the sabotage as well proves nothing and is left out.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[3]
REPORT = Path(__file__).with_name("REPORT.md")
PATIENCE = 300
"""Seconds; a test that hangs has noticed, too, unless it takes as long without the sabotage."""
GREEN: set[str] = set()
"""Tests that passed without a sabotage."""
HANGS, SKIPPED = " (hangs)", " (skipped)"
HEAD = """# Mutants

Written by `python -m tests.lab.mutants`; do not edit: each small sabotage of the code, and the test that turned red.

| sabotage | file | noticed by | seconds |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    caught_by: str
    seconds: float

    @property
    def line(self) -> str:
        return f"| {self.mutant.name} | `{self.mutant.file}` | {self.caught_by} | {self.seconds:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="Only those with this in their name.")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1, help="Sabotages tried at once.")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="No new one after so long.")
    parser.add_argument("--again", action="store_true", help="Those that the report has not as noticed.")
    asked = parser.parse_args()
    began, stood = time.monotonic(), _noticed_before() if asked.again else {}
    chosen = [m for m in MUTANTS if not asked.names or any(name in m.name for name in asked.names)]
    chosen = [m for m in chosen if m.name not in stood]
    todo, found = iter(chosen), dict[str, Verdict]()

    def lane(_: int) -> None:
        with _copy() as copy:
            while time.monotonic() - began < asked.minutes * 60 and (mutant := next(todo, None)):
                found[mutant.name] = _tried(copy, mutant)
                print(found[mutant.name].line, flush=True)

    with ThreadPoolExecutor() as lanes:
        for done in [lanes.submit(lane, number) for number in range(asked.lanes)]:
            done.result()
    found |= stood
    chosen = [m for m in MUTANTS if m in chosen or m.name in stood]
    verdicts = [found[mutant.name] for mutant in chosen if mutant.name in found]
    if not asked.names:
        REPORT.write_text(_markdown(chosen, verdicts))
    print(_sum(chosen, verdicts))
    return 1 if _missed(verdicts) else 0


def _noticed_before() -> dict[str, Verdict]:
    """Returns what the report says of sabotages that a test noticed."""
    lines = re.findall(r"^\| (.+?) \| `.+?` \| (`.+`) \| (\d+) \|$", REPORT.read_text(), re.MULTILINE)
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    return {name: Verdict(by_name[name], by, float(took)) for name, by, took in lines if name in by_name}


def _missed(verdicts: list[Verdict]) -> list[str]:
    return [verdict.mutant.name for verdict in verdicts if not verdict.caught_by.startswith("`")]


def _sum(chosen: list[Mutant], verdicts: list[Verdict]) -> str:
    missed = _missed(verdicts)
    noticed = (
        f"{len(verdicts) - len(missed)} of {len(verdicts)} noticed{': not ' + ', '.join(missed) if missed else ''}"
    )
    return f"{noticed}. {len(chosen) - len(verdicts)} of {len(chosen)} were not reached."


def _markdown(chosen: list[Mutant], verdicts: list[Verdict]) -> str:
    return HEAD + "\n".join(verdict.line for verdict in verdicts) + f"\n\n{_sum(chosen, verdicts)}\n"


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(
            ROOT,
            copy,
            symlinks=True,
            ignore=shutil.ignore_patterns(".git", ".venv", ".*cache*", "__pycache__", "*.duckdb*"),
        )
        yield copy


def _tried(copy: Path, mutant: Mutant) -> Verdict:
    file, began = copy / mutant.file, time.monotonic()
    whole = text = file.read_text()
    for old, new in mutant.edits:
        if text.count(old) != 1:
            return Verdict(mutant, f"STALE: {text.count(old)} places to change", 0.0)
        text = text.replace(old, new)
    sick: list[str] = []
    while True:
        file.write_text(text)
        try:
            failed = _red(copy, [*_chosen(mutant.tests), "-x", *(f"--deselect={test}" for test in sick)])
        finally:
            file.write_text(whole)
        if failed and "::" not in failed[0]:
            return Verdict(mutant, f"BROKEN: {failed[0]} does not even import", time.monotonic() - began)
        if failed and failed[0].endswith(HANGS):
            slow = bool(_red(copy, _chosen(mutant.tests)))
            return Verdict(mutant, "SLOW: also without it" if slow else f"`{failed[0]}`", time.monotonic() - began)
        if failed and failed[0].endswith(SKIPPED):
            return Verdict(mutant, "SKIPPED: no test of it can run here", time.monotonic() - began)
        if not failed:
            why = f": red without it, too: {', '.join(f'`{test}`' for test in sick)}" if sick else ""
            return Verdict(mutant, f"NOBODY{why}", time.monotonic() - began)
        if _is_green(copy, failed[0]):
            return Verdict(mutant, f"`{failed[0]}`", time.monotonic() - began)
        sick.append(failed[0])


def _is_green(copy: Path, test: str) -> bool:
    """Returns whether a test passes without any sabotage; looks once."""
    if test not in GREEN and not _red(copy, [test]):
        GREEN.add(test)
    return test in GREEN


def _chosen(tests: str) -> list[str]:
    files, _, keyword = tests.partition(" -k ")
    return [*files.split(), *(["-k", keyword] if keyword else [])]


def _red(copy: Path, tests: list[str]) -> list[str]:
    """The tests that fail."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "not peer",
        "-n",
        "0",
        "-q",
        "-p",
        "no:cacheprovider",
        "-rfE",
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), str(copy / ".ci" / "import")])}
    try:
        ended = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"{tests[0]}::{HANGS}"]
    found = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", ended.stdout, re.MULTILINE)
    if not found and ended.returncode not in (0, 5):  # 5: all are left out
        raise SystemExit(
            f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-500:]}"
        )
    if not found and " passed" not in ended.stdout and not any(one.startswith("--deselect") for one in tests):
        return [f"{tests[0]}::{SKIPPED}"]
    return found


if __name__ == "__main__":
    sys.exit(main())
