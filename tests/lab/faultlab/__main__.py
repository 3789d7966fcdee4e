"""`python -m tests.lab.faultlab [--destination duckdb|postgres] [--kills all|N] [--http all|N] [--wire N]
[--together N] [--plain all|N] [--seed S] [--source NAME] [--lanes L] [--minutes M] [--keep FILE]`: the sweep.

Kills go on beside HTTP faults, beside several commands at once and, with Postgres, beside faults on the wire to it;
of the minutes the last fifth is for plain dlt, which always loads to DuckDB.

Prints every trial that went wrong and how far it is, then the table, and writes REPORT.md or REPORT.postgres.md.
Ends with 1 for a defect.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import TypeVar

from gapless.sources import SOURCES
from tests.lab.faultlab import crowd, http_faults, kills, plain_dlt, report, together, wire_faults
from tests.lab.faultlab.destinations import Destination, Duckdb
from tests.lab.faultlab.kept import Kept, Trial
from tests.lab.faultlab.postgres import Postgres
from tests.lab.faultlab.runs import Zygote
from tests.lab.faultlab.world import PHASES, Lab
from tests.support.postgres import running

REPORTS = {"duckdb": "REPORT.md", "postgres": "REPORT.postgres.md"}
MEMORY = Path("/dev/shm")
T = TypeVar("T", bound=Trial)


def main() -> int:
    asked, began = _asked(), time.monotonic()
    # In memory where there is such a place: nothing is to outlive the machine.
    folder = Path(tempfile.mkdtemp(prefix="faultlab-", dir=MEMORY if MEMORY.is_dir() else None))
    sweep = report.Sweep(report.without_paths(sys.argv[1:]), asked.seed, asked.destination)
    asked.kept.begin(sweep)
    try:
        with _destination(asked.destination) as destination, ThreadPoolExecutor() as lanes:
            for done in [lanes.submit(lane, folder, destination, sweep, asked) for lane in LANES]:
                done.result()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sweep.seconds = time.monotonic() - began
    text = report.markdown(sweep)
    Path(__file__).with_name(REPORTS[asked.destination]).write_text(text)
    print(text)
    return 1 if list(report.defects(sweep)) else 0


@contextmanager
def _destination(name: str) -> Iterator[Destination]:
    with running() if name == "postgres" else nullcontext() as server:
        yield Postgres(server) if server else Duckdb()


@contextmanager
def _lab(folder: Path, destination: Destination, seed: int) -> Iterator[Lab]:
    """A laboratory with a zygote of its own."""
    folder.mkdir()
    zygote = Zygote()
    try:
        yield Lab(folder, zygote, destination, seed)
    finally:
        zygote.end()


def _kill(folder: Path, destination: Destination, sweep: report.Sweep, asked: argparse.Namespace) -> None:
    ends = time.monotonic() + asked.minutes * 60
    if asked.kills == 0:
        return
    with _lab(folder / "kills", destination, asked.seed) as lab:
        effects = {(source, phase): kills.count(lab, source, phase) for source in asked.sources for phase in PHASES}
    sweep.points = {place: len(found) for place, found in effects.items()}
    done = {one.kill for one in sweep.kills}
    todo = [
        kill
        for kill in kills.chosen(effects, asked.kills, sweep.seed, frozen=destination.in_files)
        if kill not in done
    ]

    def lane(number: int) -> None:
        part = todo[number :: asked.lanes]
        with _lab(folder / f"kills-{number}", destination, asked.seed + number) as lab:
            _told(kills.run(lab, part), sweep.kills, asked.kept, len(part), ends)

    _beside(lane, asked.lanes)


def _http(folder: Path, destination: Destination, sweep: report.Sweep, asked: argparse.Namespace) -> None:
    began, cases = time.monotonic(), http_faults.cases(asked.sources)
    done, sweep.cases = {one.case for one in sweep.tried}, len(cases)
    todo = [case for case in http_faults.chosen(cases, asked.http, asked.seed) if case not in done]
    share = 0.8 if asked.plain != 0 else 1

    def lane(number: int) -> None:
        part = todo[number :: asked.lanes]
        with _lab(folder / f"http-{number}", destination, asked.seed + number) as lab:
            _told(http_faults.run(lab, part), sweep.tried, asked.kept, len(part), began + asked.minutes * 60 * share)

    _beside(lane, asked.lanes)
    with _lab(folder / "plain", destination, asked.seed) as lab:
        sweep.plain.update(_until(plain_dlt.run(lab, plain_dlt.chosen(asked.plain)), began + asked.minutes * 60))


def _wire(folder: Path, destination: Destination, sweep: report.Sweep, asked: argparse.Namespace) -> None:
    """On a server of its own, as it is to crash."""
    ends = time.monotonic() + asked.minutes * 60
    if destination.name != "postgres" or asked.wire == 0:
        return
    with _destination(destination.name) as own, _lab(folder / "wire", own, asked.seed) as lab:
        places = product(asked.sources, PHASES)
        statements = {place: wire_faults.count(lab, *place) for place in places}
        done = {one.fault for one in sweep.broken}
        todo = [fault for fault in wire_faults.chosen(statements, asked.wire, sweep.seed) if fault not in done]
        _told(wire_faults.run(lab, todo), sweep.broken, asked.kept, len(todo), ends)


def _together(folder: Path, destination: Destination, sweep: report.Sweep, asked: argparse.Namespace) -> None:
    """With three zygotes, so that three commands are at work at once."""
    ends, more = time.monotonic() + asked.minutes * 60, [Zygote() for _ in range(2)] if asked.together else []
    try:
        with _lab(folder / "together", destination, asked.seed) as lab:
            done = {one.crowd for one in sweep.together}
            todo = [
                crowd for crowd in together.chosen(asked.sources, asked.together, asked.seed) if crowd not in done
            ]
            _told(crowd.run(lab, todo, [lab.zygote, *more]), sweep.together, asked.kept, len(todo), ends)
    finally:
        for zygote in more:
            zygote.end()


LANES = (_kill, _http, _wire, _together)


def _beside(lane: Callable[[int], None], many: int) -> None:
    """Runs `many` lanes at once, each with the number that it is; raises what one of them raised."""
    with ThreadPoolExecutor() as lanes:
        for done in [lanes.submit(lane, number) for number in range(many)]:
            done.result()


def _told(trials: Iterable[T], told: list[T], kept: Kept, many: int, ends: float) -> None:
    """Keeps what comes until the time is over; says how far it is, and at once what went wrong."""
    for number, trial in enumerate(_until(trials, ends), 1):
        told.append(trial)
        kept.add(trial)
        verdict = trial.verdict
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
    parser = argparse.ArgumentParser(prog="python -m tests.lab.faultlab", description=__doc__)
    parser.add_argument("--destination", default="duckdb", choices=list(REPORTS))
    parser.add_argument("--kills", type=_many, default=60, metavar="all|N")
    parser.add_argument("--http", type=_many, default=180, metavar="all|N")
    parser.add_argument("--wire", type=int, default=60, metavar="N", help="faults on the wire to Postgres")
    parser.add_argument("--together", type=int, default=30, metavar="N", help="several commands at once")
    parser.add_argument("--plain", type=_many, default=40, metavar="all|N", help="faults against plain dlt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", dest="sources", action="append", choices=list(SOURCES))
    parser.add_argument("--lanes", type=int, default=1, help="trials of one kind at once")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no new trial after so long")
    parser.add_argument("--keep", type=Path, dest="kept", metavar="FILE", help="goes on with the trials kept there")
    asked = parser.parse_args()
    asked.kept = Kept(asked.kept)
    asked.sources = tuple(asked.sources or SOURCES)
    return asked


def _many(text: str) -> int | None:
    return None if text == "all" else int(text)


if __name__ == "__main__":
    sys.exit(main())
