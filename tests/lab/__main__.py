"""`python -m tests.lab --minutes 60`: all laboratories, each for its part of the time, then the reports.

REPORT.md beside this file has what was wanted, what was reached and whether all went well, with a link to the report
of each laboratory. With `--keep FOLDER` a later run goes on where this one stopped, and what it does not play is told
as it was played before, so the parts may be run one by one (`--only`). Ends with 1 if any did not go well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REPORT = HERE / "REPORT.md"
SWEEPS = "--seed {seed} --keep {keep}/{name} --minutes {minutes}"


@dataclass(frozen=True)
class Part:
    """One laboratory; it has two cores, or more, for itself."""

    name: str
    share: float
    """Of the time: about as many minutes as it takes on two cores with nothing beside it."""
    wanted: str
    command: str
    report: str
    reached: str
    """What its report says of how much was tried, as a pattern of lines."""


PARTS = (
    Part(
        "faults",
        22,
        "2,440 kills, 900 HTTP cases, 60 trials of several commands at once, on DuckDB",
        f"tests.lab.faultlab --kills 2440 --http 900 --together 60 --plain 44 {SWEEPS}",
        "tests/lab/faultlab/REPORT.md",
        r"^- ((?:kills|HTTP|together|keys|more than).*)$",
    ),
    Part(
        "faults on Postgres",
        10,
        "620 kills, 100 HTTP cases, 40 trials of several commands at once, 60 of a bad wire, on Postgres",
        "tests.lab.faultlab --destination postgres --kills 620 --http 100 --together 40 --wire 60 --plain 0 "
        + SWEEPS,
        "tests/lab/faultlab/REPORT.postgres.md",
        r"^- ((?:kills|HTTP|the wire|together|keys|more than).*)$",
    ),
    Part(
        "scenarios and damages",
        12,
        "every scenario on DuckDB, every damage on DuckDB and Postgres, of every source",
        "tests.lab.scenarios --lanes {lanes} --keep {keep}/{name} --minutes {minutes}",
        "tests/lab/scenarios/REPORT.md",
        r"^(\d.*)$",
    ),
    Part(
        "mutants",
        7,
        "every mutant",
        "tests.lab.mutants --lanes {lanes} --minutes {minutes}",
        "tests/lab/mutants/REPORT.md",
        r"^(\d.*)$",
    ),
    Part(
        "state machine",
        5,
        "10,000 steps",
        "tests.stateful --steps 10000 --lanes {lanes} --seed {seed} --minutes {minutes}",
        "tests/stateful/REPORT.md",
        r"^(\d.*)$",
    ),
)
HEAD = """\
# What all laboratories found

Written by `python -m tests.lab`; do not edit. More is wanted than is tried where the time was over.

| laboratory | wanted | reached | last sitting | what was tried went well |
|---|---|---|---|---|
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="Of all parts together; the last trials end later.")
    parser.add_argument("--keep", type=Path, help="A folder for what was tried; default: one for today.")
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS])
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    keep = asked.keep or Path(f"/tmp/gapless-lab-{datetime.now(UTC):%Y%m%d}")
    keep.mkdir(parents=True, exist_ok=True)
    parts = [part for part in PARTS if part.name in (asked.only or part.name)]
    ends, rows, kept = time.monotonic() + asked.minutes * 60, dict[str, str](), keep / "rows.json"
    if kept.exists():
        rows = json.loads(kept.read_text())
    for number, part in enumerate(parts):
        left = max(0.0, ends - time.monotonic()) / 60
        minutes = round(left * part.share / sum(one.share for one in parts[number:]), 2)
        rows[part.name] = _tried(part, minutes, keep, asked)
        kept.write_text(json.dumps(rows))
        _write(rows)
    return 1 if any(not rows[part.name].endswith("| yes |") for part in parts) else 0


def _tried(part: Part, minutes: float, keep: Path, asked: argparse.Namespace) -> str:
    """Runs a laboratory; returns its row of the report."""
    began, name = time.monotonic(), part.name.replace(" ", "-")
    given = {"seed": asked.seed, "lanes": asked.lanes, "minutes": minutes, "keep": keep, "name": name}
    command = [sys.executable, "-m", *part.command.format(**given).split()]
    print(f"== {part.name}: {minutes:.1f} minutes: {' '.join(command[1:])}", flush=True)
    with (keep / f"{name}.log").open("w") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False).returncode
    found = re.findall(part.reached, (ROOT / part.report).read_text(), re.MULTILINE)
    reached = (
        f"[{'; '.join(one.strip() for one in found).replace('|', '/')}]({os.path.relpath(ROOT / part.report, HERE)})"
    )
    commit = subprocess.run(["git", "rev-parse", "--short=8", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    sitting = f"{(time.monotonic() - began) / 60:.0f} minutes to {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    how = f"{sitting} on {commit.stdout.decode().strip()}, {os.cpu_count()} cores, seed {asked.seed}"
    row = f"| {part.name} | {part.wanted} | {reached} | {how} |"
    print(row, f"see {keep / name}.log" if code else "", flush=True)
    return f"{row} {'yes' if code == 0 else 'no'} |"


def _write(rows: Mapping[str, str]) -> None:
    """Writes the summary: each part as it was played last."""
    missing = "| {0.name} | {0.wanted} | not played | | |"
    lines = [rows.get(part.name, missing.format(part)) for part in PARTS]
    REPORT.write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
