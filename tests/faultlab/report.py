"""The table fault x outcome, on the screen and in REPORT.md, with what plain dlt does beside it."""

from __future__ import annotations

import os
import platform
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from tests.faultlab.http_faults import Tried
from tests.faultlab.kills import Killed

Row = tuple[str, Counter[str]]
NOT_MEASURED = "not measured"
PLAIN_KILLED = "of 449 points 20 bricked, 4 with duplicates (working folder kept)"
PLAIN_DLT: tuple[tuple[tuple[str, ...], str], ...] = (
    (("429, Retry-After a fraction", "429, Retry-After a date in the past"), "run fails"),
    (("status 408", "status 425", "429 for"), "run fails"),
    (("byte at a time",), "hangs: the timeout never fires"),
    (("page mark again", "page marks A, B, A"), "endless requests"),
    (("to another host", "next-link to"), "the keys follow"),
    (("an error with 200", "errors with 200", "the list missing"), "silent: 30 of 95 rows, newest first, for ever"),
    (("status 403", "status 404", "status 500"), "one parent of 20: run fails, 0 of 20"),
)
"""Parts of a fault's name -> what stands in the project's measurements of dlt 1.31."""
HEAD = """\
# What the fault laboratory found

Written by `python -m tests.faultlab {command}`; do not edit. How to read an outcome: the docstring of `verdict.py`.
**exact**: exit 0 and every record there. **resumed**: said by the exit code, exact after the next sync.
**gone**: the vendor said 404, noted, exact after the next sync. Anything in capitals is a defect.

{facts}

The column *plain dlt 1.31* holds what was measured on dlt 1.31 before gapless was written, with an oracle of the same kind;
it was not measured again here, and not for every fault. *{not_measured}* says so.
"""


@dataclass
class Sweep:
    """What was tried, out of how much, and how."""

    command: str
    seed: int
    destination: str
    points: dict[tuple[str, str], int] = field(default_factory=dict)
    """Side effects of an unharmed run, by source and phase."""
    kills: list[Killed] = field(default_factory=list)
    cases: int = 0
    """HTTP cases there are."""
    tried: list[Tried] = field(default_factory=list)
    seconds: float = 0.0


def plain_dlt(fault: str) -> str:
    return next((what for parts, what in PLAIN_DLT if any(part in fault for part in parts)), NOT_MEASURED)


def facts(sweep: Sweep) -> Iterator[str]:
    at, cores = datetime.now(UTC), os.cpu_count()
    yield f"- {at:%Y-%m-%d %H:%M} UTC, seed {sweep.seed}, destination {sweep.destination}, {sweep.seconds:,.0f} s"
    versions = ", ".join(f"{name} {version(name)}" for name in ("dlt", "duckdb", "pyarrow", "httpx"))
    yield f"- Python {platform.python_version()}, {versions}; {platform.system()} {platform.machine()}, {cores} cores"
    dead = [k for k in sweep.kills if k.last]
    points = sum(sweep.points.values())
    kinds = Counter(k.verdict.kind for k in dead)
    yield f"- kills: {len(dead):,} died, of {points:,} points ({_told(kinds)}); {len(sweep.kills) - len(dead)} ended first"
    kinds = Counter(t.verdict.kind for t in sweep.tried)
    faults = len({t.case.fault for t in sweep.tried})
    yield f"- HTTP: {len(sweep.tried):,} cases of {sweep.cases:,}, {faults} faults ({_told(kinds)})"
    requests = sum(bool(k.verdict.kind == "COSTLY") for k in sweep.kills)
    yield f"- more than one chunk read again after a kill: {requests}"


def _told(kinds: Counter[str]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common()) or "none"


def markdown(sweep: Sweep) -> str:
    parts = [HEAD.format(command=sweep.command, facts="\n".join(facts(sweep)), not_measured=NOT_MEASURED)]
    if bad := list(defects(sweep)):
        parts += ["## Defects\n", *(f"- {line}" for line in bad), ""]
    parts += ["## kill -9 by source and phase\n", *_table("source, phase", _by_place(sweep), lambda name: PLAIN_KILLED), ""]
    parts += ["## kill -9 by side effect\n", *_table("died at", _by_effect(sweep), lambda name: PLAIN_KILLED), ""]
    parts += ["## HTTP faults\n", *_table("fault", _by_fault(sweep), plain_dlt), ""]
    return "\n".join(parts)


def defects(sweep: Sweep) -> Iterator[str]:
    for killed in sweep.kills:
        if not killed.verdict.good:
            notes = _short(killed.verdict.notes)
            yield f"**{killed.verdict.kind}** {killed.kill}, died at `{killed.last or 'nothing'}`: {notes}"
    for tried in sweep.tried:
        if not tried.verdict.good:
            case = tried.case
            where = f"{case.source}, {case.phase}, {case.site}"
            yield f"**{tried.verdict.kind}** {case.fault} ({where}): {_short(tried.verdict.notes)}"


def _short(notes: list[str]) -> str:
    return " ".join(" ".join(notes).split())[:400].replace("|", "/")


def _table(title: str, rows: list[Row], plain: object) -> Iterator[str]:
    yield f"| {title} | trials | gapless | plain dlt 1.31 |"
    yield "|---|---|---|---|"
    for name, kinds in rows:
        beside = plain(name) if callable(plain) else ""
        yield f"| {name} | {sum(kinds.values()):,} | {_told(kinds)} | {beside} |"


def _by_place(sweep: Sweep) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for killed in sweep.kills:
        points = sweep.points.get((killed.kill.source, killed.kill.phase), 0)
        name = f"{killed.kill.source}, {killed.kill.phase} ({points:,} points), {killed.kill.way}"
        found[name][killed.verdict.kind] += 1
    return sorted(found.items())


def _by_effect(sweep: Sweep) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for killed in sweep.kills:
        if killed.last:
            found[" ".join(killed.last.split()[1:4])][killed.verdict.kind] += 1
    return sorted(found.items())


def _by_fault(sweep: Sweep) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for tried in sweep.tried:
        found[tried.case.fault][tried.verdict.kind] += 1
    return list(found.items())
