"""`python -m tests.lab.scenarios`: every scenario and every damage on every source, then REPORT.md.

`--share 2/5` tries a fifth of both; with `--keep FILE` what is in it is not tried again, and the report is of all
that it holds, so that shares may be run one after the other. Ends with 1 for a false claim or an alarm that stays.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product, takewhile
from pathlib import Path

from gapless.sources import SOURCES
from gapless.sources.source import Source
from tests.contract.subject import subject
from tests.lab.damage.kinds import KINDS, Place
from tests.lab.damage.trial import lab
from tests.lab.scenarios.kinds import scenarios
from tests.lab.scenarios.report import FILE, Tried, keep, kept, key, markdown
from tests.lab.scenarios.stage import Told, stage
from tests.support import shared
from tests.support.postgres import running

ROOT = Path(__file__).resolve().parents[3]
FIFTH = "tests.fifth.okta"


def main() -> int:
    asked = _asked()
    if asked.lanes > 1:
        return _beside(asked)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    fifth = Source.at(FIFTH)
    SOURCES.setdefault(fifth.name, fifth)
    told, tried = kept(asked.keep)
    known = {name for found in (told, tried) for name, one in found.items() if one.good or not asked.again}
    ends = time.monotonic() + asked.minutes * 60
    shared.begin()  # for the processes that are killed
    try:
        for one in takewhile(lambda _: time.monotonic() < ends, _trials(asked, known)):
            keep(asked.keep, one)
            _say(one)
            if isinstance(one, Told):
                told[key(one)] = one
            else:
                tried[key(one)] = one
    finally:
        shared.end()
    FILE.write_text(markdown([*told.values()], [*tried.values()], len(_wanted(asked) - {*told, *tried})))
    return 0 if all(one.good for one in told.values()) and all(one.good for one in tried.values()) else 1


def _beside(asked: argparse.Namespace) -> int:
    """Tries each share in a process of its own; what they kept is the report."""
    command = [sys.executable, "-m", "tests.lab.scenarios", *sys.argv[1:]]  # the last word of an option counts
    shares = [f"{number}/{asked.lanes}" for number in range(1, asked.lanes + 1)]
    lanes = [subprocess.Popen([*command, "--lanes", "1", "--share", share], cwd=ROOT) for share in shares]
    for lane in lanes:
        lane.wait()
    return subprocess.run([*command, "--lanes", "1", "--minutes", "0"], cwd=ROOT, check=False).returncode


def _trials(asked: argparse.Namespace, known: set[str]) -> Iterator[Told | Tried]:
    """Every kind on one source, then each on another one: when the time is over, no kind was left out."""
    for turn in range(len(SOURCES) if asked.minutes else 0):
        if "scenarios" in asked.only:
            yield from _scenarios(asked, known, turn)
        if "damages" in asked.only:
            yield from _damages(asked, known, turn)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=("scenarios", "damages"))
    parser.add_argument("--destination", action="append", help="Default: duckdb; damages also on postgres.")
    parser.add_argument("--source", action="append", help="Default: all, and the fifth one.")
    parser.add_argument("--kind", default="", help="Only those with this in their name.")
    parser.add_argument("--share", default="1/1", metavar="K/N")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="No new trial after so long; 0: only the report."
    )
    parser.add_argument(
        "--keep", type=lambda text: Path(text).resolve(), help="A file of JSON lines with what was found."
    )
    parser.add_argument("--lanes", type=int, default=1, help="Shares tried at once; needs --keep.")
    parser.add_argument("--again", action="store_true", help="Try again what went wrong.")
    asked = parser.parse_args()
    asked.only = asked.only or ["scenarios", "damages"]
    if asked.lanes > 1 and not asked.keep:
        parser.error("--lanes needs --keep, which the lanes share")
    asked.number, asked.of = map(int, asked.share.split("/"))
    return asked


def _wanted(asked: argparse.Namespace) -> set[str]:
    """The keys of all trials that were asked for, whatever the share."""
    found: set[str] = set()
    for index, name in enumerate(asked.source or SOURCES):
        one = subject(name)
        for destination in asked.destination or ["duckdb"]:
            fitting = [each for each in scenarios(destination) if asked.kind in each.name and each.fits(one)]
            found |= {key(Told(name, each.name, destination)) for each in fitting if "scenarios" in asked.only}
        for destination, syncs, (place, kind) in product(
            asked.destination or ["duckdb", "postgres"], (0, 2), enumerate(KINDS)
        ):
            fits = asked.kind in kind.name and kind.applies(Place(one, destination))
            if "damages" in asked.only and fits and (syncs == 0 or (place + index) % 4 == 0):
                found.add(key(Tried(name, kind.name, destination, syncs, [], False, [], [])))
    return found


def _in_share(asked: argparse.Namespace, source: int, place: int, turn: int) -> bool:
    """Each share has other kinds, and in each turn a kind is of another source."""
    return bool(place % asked.of == asked.number - 1 and (place // asked.of + source + turn) % len(SOURCES) == 0)


def _scenarios(asked: argparse.Namespace, known: set[str], turn: int) -> Iterator[Told]:
    for destination, (index, name) in product(asked.destination or ["duckdb"], enumerate(asked.source or SOURCES)):
        with stage(name, destination) as here:
            fitting = [one for one in scenarios(destination) if asked.kind in one.name and one.fits(here.subject)]
            for place, scenario in enumerate(fitting):
                if _in_share(asked, index, place, turn) and key(Told(name, scenario.name, destination)) not in known:
                    yield scenario.told(here).told


def _damages(asked: argparse.Namespace, known: set[str], turn: int) -> Iterator[Tried]:
    """Every kind at once after the first sync; every fourth also after two scheduled syncs."""
    for destination in asked.destination or ["duckdb", "postgres"]:
        with ExitStack() as stack:
            server = stack.enter_context(running()) if destination == "postgres" else None
            for index, name in enumerate(asked.source or SOURCES):
                with lab(name, server) as here:
                    for syncs, (place, kind) in product((0, 2), enumerate(KINDS)):
                        fits = asked.kind in kind.name and kind.applies(here.place)
                        wanted = syncs == 0 or (place + index) % 4 == 0
                        if not (fits and wanted and _in_share(asked, index, place, turn)):
                            continue
                        one = Tried(name, kind.name, destination, syncs, [], False, [], [])
                        if key(one) not in known:
                            yield Tried.of(here.tried(kind, syncs), destination, syncs)


def _say(one: Told | Tried) -> None:
    what = one.scenario if isinstance(one, Told) else f"{one.kind} ({one.syncs} syncs)"
    wrong = [*one.false, *one.stays] if isinstance(one, Told) else one.wrong
    typed = one.typed if isinstance(one, Told) else one.ran
    print(f"{'ok   ' if one.good else 'WRONG'} {one.source:9} {one.destination:9} {what}")
    print("".join(f"      {text}\n" for text in (*wrong, *(["typed: " + "; ".join(typed)] if wrong else []))), end="")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
