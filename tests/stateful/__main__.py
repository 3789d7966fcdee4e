"""`python -m tests.stateful --steps 10000 --minutes 10`: so many steps of the state machine, each story another one.

Every process plays some stories of one source. What an order of events broke is printed with the command that
repeats it. Writes REPORT.md, with what was not reached. Ends with 1 for a story that did not end well.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Lock

from gapless.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]
REPORT = Path(__file__).with_name("REPORT.md")
STEPS = 300
"""Of one process: as many for each source would make four times as many."""
HEAD = """\
# What the state machine found

Written by `python -m tests.stateful`; do not edit. Random orders of what happens at a vendor, on the wire and to the
file, other commands after an interruption among them; after each clean sync the database is exact.

"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stateful", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="No new process after so long.")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1, help="Of the first process; each has the next one.")
    asked = parser.parse_args()
    began, found, lock = time.monotonic(), dict[str, Counter[str]](), Lock()
    bad: list[str] = []
    turns = _turns(asked.seed)

    def lane(_: int) -> None:
        while time.monotonic() - began < asked.minutes * 60 and _steps(found) < asked.steps:
            with lock:
                name, seed = next(turns)
            counted, failed = _played(name, seed)
            with lock:
                found.setdefault(name, Counter()).update(counted)
                bad.extend(failed)
            print(f"{_steps(found):,} of {asked.steps:,} steps", *failed, sep="\n", flush=True)

    with ThreadPoolExecutor() as lanes:
        for done in [lanes.submit(lane, number) for number in range(asked.lanes)]:
            done.result()
    REPORT.write_text(_markdown(asked, found, bad, time.monotonic() - began))
    return 1 if bad else 0


def _turns(seed: int) -> Iterator[tuple[str, int]]:
    for number in count():
        yield [*SOURCES][number % len(SOURCES)], seed + number


def _steps(found: dict[str, Counter[str]]) -> int:
    return sum(one["steps"] for one in found.values())


def _played(name: str, seed: int) -> tuple[Counter[str], list[str]]:
    """Stories of one source: what was counted, and what went wrong with how to repeat it."""
    settings = {"STATE_MACHINE_STEPS": str(STEPS * len(SOURCES)), "STATE_MACHINE_SEED": str(seed)}
    test = f"tests/stateful/test_state_machine.py::test_any_order_of_events[{name}]"
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rP", "-m", "", "--timeout", "900", test]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    line = re.search(rf"^{name}: (.+)$", done.stdout, re.MULTILINE)
    counted = {what: int(number) for number, what in re.findall(r"(\d+) (\w+)", line[1] if line else "")}
    if done.returncode == 0:
        return Counter(counted), []
    why = " ".join(re.findall(r"^E +(.+)$", done.stdout, re.MULTILINE)[:3])[:300].replace("|", "/")
    return Counter(counted), [
        f"{' '.join(f'{n}={v}' for n, v in settings.items())} pytest -n 0 -m '' '{test}': {why}"
    ]


def _markdown(asked: argparse.Namespace, found: dict[str, Counter[str]], bad: list[str], seconds: float) -> str:
    lines = ["| source | steps | syncs | other commands after an interruption |", "|---|---|---|---|"]
    for name, one in sorted(found.items()):
        lines.append(f"| {name} | {one['steps']:,} | {one['syncs']:,} | {one['commands']:,} |")
    missing = max(0, asked.steps - _steps(found))
    lines += ["", f"{_steps(found):,} steps of {asked.steps:,} in {seconds:,.0f} s; {missing:,} not reached."]
    lines += [f"{len(bad)} processes in which a story did not end well.", *(f"- `{one}`" for one in bad)]
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
