"""Applies each sabotage in a copy of the project, runs the tests that must notice, and prints who did.

`python -m tests.lab.mutants` runs all and writes REPORT.md; with names (or parts of names) just those. A test that is
red without the sabotage as well proves nothing and is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[3]
REPORT = Path(__file__).with_name("REPORT.md")
PATIENCE = 120
"""Seconds; a test that hangs has noticed, too."""
HANGS = " (hangs)"
HEAD = """# Mutants

Written by `python -m tests.lab.mutants`: each small sabotage of the code, and the test that turned red.

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


def main(names: list[str]) -> int:
    chosen = [m for m in MUTANTS if not names or any(name in m.name for name in names)]
    with _copy() as copy:
        verdicts = []
        for mutant in chosen:
            verdicts.append(_tried(copy, mutant))
            print(verdicts[-1].line, flush=True)
    missed = [v.mutant.name for v in verdicts if not v.caught_by.startswith("`")]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} noticed{': not ' + ', '.join(missed) if missed else ''}")
    if not names:
        REPORT.write_text(HEAD + "\n".join(v.line for v in verdicts) + "\n")
    return 1 if missed else 0


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
        if not failed or failed[0].endswith(HANGS) or not _red(copy, [failed[0]]):
            return Verdict(mutant, f"`{failed[0]}`" if failed else "NOBODY", time.monotonic() - began)
        sick.append(failed[0])


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
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
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
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
