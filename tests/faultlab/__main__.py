"""`python -m tests.faultlab [--kills all|N] [--http all|N] [--seed S] [--source NAME] [--minutes M]`: the sweep.

Prints every trial that went wrong and how far it is, then the table, and writes REPORT.md. Ends with 1 for a defect.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from sources import SOURCES
from tests.faultlab import http_faults, kills, report
from tests.faultlab.world import PHASES, Lab, Zygote

REPORT = Path(__file__).with_name("REPORT.md")
T = TypeVar("T")


def main() -> int:
    asked = _asked()
    sources, began = tuple(asked.source or SOURCES), time.monotonic()
    folder, zygote = Path(tempfile.mkdtemp(prefix="faultlab-")), Zygote()
    try:
        lab = Lab(folder, zygote)
        sweep = report.Sweep(" ".join(sys.argv[1:]), asked.seed, lab.destination.name)
        cases = http_faults.cases(sources)
        sweep.cases, ends = len(cases), began + asked.minutes * 60
        if asked.kills != 0:
            _kill(lab, sweep, sources, asked.kills, began + asked.minutes * 60 / (2 if asked.http != 0 else 1))
        todo = http_faults.chosen(cases, asked.http, asked.seed)
        _told(http_faults.run(lab, todo), sweep.tried, len(todo), ends)
    finally:
        zygote.end()
        shutil.rmtree(folder, ignore_errors=True)
    sweep.seconds = time.monotonic() - began
    text = report.markdown(sweep)
    REPORT.write_text(text)
    print(text)
    return 1 if list(report.defects(sweep)) else 0


def _kill(lab: Lab, sweep: report.Sweep, sources: tuple[str, ...], many: int | None, ends: float) -> None:
    effects = {(source, phase): kills.count(lab, source, phase) for source in sources for phase in PHASES}
    sweep.points = {place: len(found) for place, found in effects.items()}
    todo = kills.chosen(effects, many, sweep.seed)
    _told(kills.run(lab, todo), sweep.kills, len(todo), ends)


def _told(trials: Iterable[T], kept: list[T], many: int, ends: float) -> None:
    """Keeps what comes until the time is over; says how far it is, and at once what went wrong."""
    for number, trial in enumerate(_until(trials, ends), 1):
        kept.append(trial)
        verdict = trial.verdict  # type: ignore[attr-defined]
        if not verdict.good:
            print(f"{verdict.kind}: {trial}", flush=True)
        elif number % 20 == 0:
            print(f"{number} of {many}", flush=True)


def _until(trials: Iterable[T], ends: float) -> Iterator[T]:
    for trial in trials:
        yield trial
        if time.monotonic() > ends:
            return


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faultlab", description=__doc__)
    parser.add_argument("--kills", type=_many, default=60, metavar="all|N")
    parser.add_argument("--http", type=_many, default=180, metavar="all|N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", action="append", choices=list(SOURCES))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no new trial after so long")
    return parser.parse_args()


def _many(text: str) -> int | None:
    return None if text == "all" else int(text)


if __name__ == "__main__":
    sys.exit(main())
