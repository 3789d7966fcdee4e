"""The table fault x outcome, on the screen and in REPORT.md, with what plain dlt does beside it."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

from tests.lab.faultlab.http_faults import Tried
from tests.lab.faultlab.kills import Killed
from tests.lab.faultlab.together import Crowded
from tests.lab.faultlab.verdict import Verdict
from tests.lab.faultlab.wire_faults import Broken
from tests.support.postgres_wire import FAULTS as WIRE_FAULTS

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

Written by `python -m tests.lab.faultlab {command}`; do not edit. More on outcomes: `verdict.py`.
**exact**: exit 0 and every record there. **resumed**: said by the exit code, exact after the next sync.
**gone**: the vendor said 404, noted, exact after the next sync. Anything in capitals is a defect.
**unpromised**: two accounts in one database, which the README warns of: not exact.

{facts}

The column *plain dlt 1.31*: *here* was measured by this sweep, with dlt's own rest_api source for Sequence (merge,
incremental by createdAt, newest first, first sync, the fault once on the second request; only ids compared); the rest
was measured on dlt 1.31 before gapless was written, with an oracle of the same kind. *{not_measured}* is just that.
"""


def without_paths(words: Sequence[str]) -> str:
    """Returns the options of a command without the file of `--keep`, which is one of this machine."""
    return re.sub(r"(?:^| )--keep[ =]\S+", "", " ".join(words)).strip()


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
    broken: list[Broken] = field(default_factory=list)
    """Faults on the wire to Postgres."""
    together: list[Crowded] = field(default_factory=list)
    """Several commands at once."""
    plain: dict[str, str] = field(default_factory=dict)
    """What came of plain dlt, by fault."""
    seconds: float = 0.0
    runs: list[str] = field(default_factory=list)
    """Times and commits of the runs whose trials were kept; none: they are of one run."""


def plain_dlt(sweep: Sweep, fault: str) -> str:
    if fault in sweep.plain:
        return f"here: {sweep.plain[fault]}"
    return next((what for parts, what in PLAIN_DLT if any(part in fault for part in parts)), NOT_MEASURED)


def _plain_killed(_: str) -> str:
    return PLAIN_KILLED


def facts(sweep: Sweep) -> Iterator[str]:
    at, cores = datetime.now(UTC), os.cpu_count()
    yield f"- {at:%Y-%m-%d %H:%M} UTC, seed {sweep.seed}, destination {sweep.destination}, {sweep.seconds:,.0f} s"
    versions = ", ".join(f"{name} {version(name)}" for name in ("dlt", "duckdb", "pyarrow", "httpx2"))
    yield f"- Python {platform.python_version()}, {versions}; {platform.system()} {platform.machine()}, {cores} cores"
    if sweep.runs:
        yield f"- {len(sweep.runs)} runs, which went on where the one before had stopped: {', '.join(sweep.runs)}"
    yield from _outcomes(sweep)


def _outcomes(sweep: Sweep) -> Iterator[str]:
    dead = [k for k in sweep.kills if k.last]
    points = sum(sweep.points.values())
    kinds = Counter(k.verdict.kind for k in dead)
    ended = len(sweep.kills) - len(dead)
    yield f"- kills: {len(dead):,} died, of {points:,} points ({_told(kinds)}); {ended} ended first"
    kinds = Counter(t.verdict.kind for t in sweep.tried)
    faults = len({t.case.fault for t in sweep.tried})
    yield f"- HTTP: {len(sweep.tried):,} cases of {sweep.cases:,}, {faults} faults ({_told(kinds)})"
    if sweep.broken:
        kinds = Counter(b.verdict.kind for b in sweep.broken)
        yield f"- the wire to Postgres, and its crashes: {len(sweep.broken):,} trials ({_told(kinds)})"
    kinds = Counter(c.verdict.kind for c in sweep.together)
    yield f"- together: {len(sweep.together):,} trials of several commands at once ({_told(kinds)})"
    verdicts = list(_verdicts(sweep))
    leaks = sum(v.kind == "LEAK" for v in verdicts)
    yield f"- keys: {sum(v.scanned for v in verdicts):,} runs scanned, {leaks} leaks"
    yield f"- plain dlt: {len(sweep.plain)} faults ({_told(Counter(map(_class, sweep.plain.values())))})"
    requests = sum(bool(k.verdict.kind == "COSTLY") for k in sweep.kills)
    yield f"- more than one chunk read again after a kill: {requests}"


def _verdicts(sweep: Sweep) -> Iterator[Verdict]:
    for trials in (sweep.kills, sweep.tried, sweep.broken, sweep.together):
        yield from (trial.verdict for trial in trials)


def _class(outcome: str) -> str:
    return outcome.partition(":")[0].partition(" (")[0]


def _told(kinds: Counter[str]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common()) or "none"


def markdown(sweep: Sweep) -> str:
    parts = [HEAD.format(command=sweep.command, facts="\n".join(facts(sweep)), not_measured=NOT_MEASURED)]
    if bad := list(defects(sweep)):
        parts += ["## Defects\n", *(f"- {line}" for line in bad), ""]
    dead = [killed for killed in sweep.kills if killed.last]
    whole = [("all kills", Counter(killed.verdict.kind for killed in dead))]
    parts += ["## kill -9\n", *_table("kill -9", whole, _plain_killed), ""]
    parts += [*_table("at a point, inside a statement, or twice", _by_place(sweep, dead)), ""]
    parts += [*_table("died at", _by_effect(dead)), ""]
    if sweep.broken:
        parts += ["## The wire to Postgres\n", *_table("at a statement by chance", _by_wire(sweep)), ""]
    if sweep.together:
        parts += ["## Together\n", *_table("a sync beside", _by_kind(sweep)), ""]
        parts += [*_table("a sync beside: how they ended", _by_exits(sweep)), ""]
    parts += ["## HTTP faults\n", *_table("fault", _by_fault(sweep), partial(plain_dlt, sweep)), ""]
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
    for broken in sweep.broken:
        if not broken.verdict.good:
            yield f"**{broken.verdict.kind}** {broken.fault}: {_short(broken.verdict.notes)}"
    for crowded in sweep.together:
        if not crowded.verdict.good:
            yield f"**{crowded.verdict.kind}** {crowded.crowd}, {crowded.exits}: {_short(crowded.verdict.notes)}"


def _short(notes: list[str]) -> str:
    return " ".join(" ".join(notes).split())[:400].replace("|", "/")


def _table(title: str, rows: list[Row], plain: Callable[[str], str] | None = None) -> Iterator[str]:
    yield f"| {title} | trials | gapless |" + (" plain dlt 1.31 |" if plain else "")
    yield "|---|---|---|" + ("---|" if plain else "")
    for name, kinds in rows:
        yield f"| {name} | {sum(kinds.values()):,} | {_told(kinds)} |" + (f" {plain(name)} |" if plain else "")


def _by_place(sweep: Sweep, dead: list[Killed]) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for killed in dead:
        points = sweep.points.get((killed.kill.source, killed.kill.phase), 0)
        name = f"{killed.kill.source}, {killed.kill.phase} ({points:,} points), {killed.kill.way}"
        found[name][killed.verdict.kind] += 1
    return sorted(found.items())


def _by_effect(dead: list[Killed]) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for killed in dead:
        found[" ".join(killed.last.split()[1:4])][killed.verdict.kind] += 1
    return sorted(found.items())


def _by_wire(sweep: Sweep) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for broken in sweep.broken:
        found[f"{broken.fault.name}: {WIRE_FAULTS[broken.fault.name]}"][broken.verdict.kind] += 1
    return sorted(found.items())


def _by_kind(sweep: Sweep) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for crowded in sweep.together:
        found[crowded.crowd.kind][crowded.verdict.kind] += 1
    return sorted(found.items())


def _by_exits(sweep: Sweep) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for crowded in sweep.together:
        found[crowded.crowd.kind]["/".join(map(str, crowded.exits))] += 1
    return sorted(found.items())


def _by_fault(sweep: Sweep) -> list[Row]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for tried in sweep.tried:
        found[tried.case.fault][tried.verdict.kind] += 1
    for fault in sweep.plain:
        found.setdefault(fault, Counter())  # measured with plain dlt alone
    return list(found.items())
