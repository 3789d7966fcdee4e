"""The report: what claimed too much, what stayed, and which damages were seen and mended; from both laboratories."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from tests.lab.damage.trial import Verdict
from tests.lab.scenarios.stage import Told

FILE = Path(__file__).with_name("REPORT.md")
HEAD = """\
# Complete means complete: what the laboratories of claims and of damage found

Written by `python -m tests.lab.scenarios`; do not edit.

A **scenario** is what a vendor, an operator or a clock does: a listing is cut short, totals lie, pages come empty,
doubled or in another order, 401, 404, 503 and sign-in pages come at odd places, records come late or go, a repair
breaks off, a sync is killed, rows and proofs are deleted. After each command the database is compared with all that
the vendor has.
**False claim**: `sync` 0, `gaps` 0, `status` complete or `verify --whole` 0 while rows are lost, stale or doubled.
**Alarm that stays**: the vendor is whole again, the commands that `gapless gaps` names were typed as printed, another
sync came, and something is still told, or is not exact.

A **damage** is done by hand in the database. It counts when some command says so, the command that is named mends it,
typed as printed, and nothing is told afterwards.

What no evidence can show counts for nobody: a page with a hole at a vendor that tells no total, or in a window of a
listing whose end is not read.

"""
T = TypeVar("T", Told, "Tried")


@dataclass
class Tried:
    """One damage, as it is kept."""

    source: str
    kind: str
    destination: str
    syncs: int
    seen: list[str]
    harmless: bool
    ran: list[str]
    wrong: list[str]

    @classmethod
    def of(cls, verdict: Verdict, destination: str, syncs: int) -> Tried:
        return cls(destination=destination, syncs=syncs, **asdict(verdict))

    @property
    def good(self) -> bool:
        return not self.wrong


def kept(file: Path | None) -> tuple[dict[str, Told], dict[str, Tried]]:
    """What earlier runs found, the last word of each trial."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    found = [json.loads(line) for line in lines]
    told = [Told(**one) for one in found if "scenario" in one]
    tried = [Tried(**one) for one in found if "kind" in one]
    return {key(one): one for one in told}, {key(one): one for one in tried}


def key(one: Told | Tried) -> str:
    """What a trial is known by."""
    if isinstance(one, Told):
        return f"{one.source} {one.destination} {one.scenario}"
    return f"{one.source} {one.destination} {one.syncs} {one.kind}"


def keep(file: Path | None, one: Told | Tried) -> None:
    if file:
        with file.open("a") as lines:
            lines.write(json.dumps(asdict(one)) + "\n")


def markdown(told: Sequence[Told], tried: Sequence[Tried], missing: int = 0) -> str:
    """Returns the report; `missing` trials were not reached."""
    left = f"{missing:,} trials of all were not reached."
    return HEAD + "\n".join([*_scenarios(told), "", *_damages(tried), left, ""])


def _scenarios(told: Sequence[Told]) -> Iterable[str]:
    false, stays = [one for one in told if one.false], [one for one in told if one.stays]
    yield "## Scenarios"
    yield ""
    yield (
        f"{len({one.scenario for one in told}):,} scenarios in {len(told):,} trials; rows were lost, stale or doubled"
        f" {sum(one.lost_at for one in told):,} times when the claims were read. **{len(false)} false claims,"
        f" {len(stays)} alarms that stay.**"
    )
    yield ""
    yield "| source | destination | trials | false claims | alarms that stay |"
    yield "|---|---|---|---|---|"
    for place, own in _by(told, lambda one: (one.source, one.destination)):
        yield _line(*place, len(own), sum(bool(one.false) for one in own), sum(bool(one.stays) for one in own))
    if false or stays:
        yield ""
    for one in [*false, *(one for one in stays if one not in false)]:
        yield f"- {one.source}, {one.scenario}: {_words([*one.false, *one.stays])}"
    yield ""
    yield "| scenario | on |"
    yield "|---|---|"
    for (name,), own in _by(told, lambda one: (one.scenario,)):
        yield _line(name, ", ".join(sorted({one.source for one in own})))


def _damages(tried: Sequence[Tried]) -> Iterable[str]:
    yield "## Damages"
    yield ""
    kinds = len({one.kind for one in tried})
    bad = sum(not one.good for one in tried)
    unseen = sum(not one.seen and not one.harmless for one in tried)
    yield (
        f"{kinds} kinds of damage in {len(tried):,} trials: {unseen} unseen, **{bad} not mended and silent after the"
        " commands that are named**. Harmless: the next sync makes it exact, unasked."
    )
    yield ""
    yield "| source | destination | syncs before | trials | seen | harmless | mended and silent |"
    yield "|---|---|---|---|---|---|---|"
    for place, own in _by(tried, lambda one: (one.source, one.destination, one.syncs)):
        seen, harmless = (sum(map(bool, which)) for which in zip(*((o.seen, o.harmless) for o in own), strict=True))
        yield _line(*place, len(own), seen, harmless, sum(one.good for one in own))
    yield ""
    for one in tried:
        if not one.good:
            yield f"- {one.source} on {one.destination}, {one.kind}: {_words(one.wrong)}"


def _by(trials: Sequence[T], place: object) -> Iterable[tuple[tuple[object, ...], list[T]]]:
    assert callable(place)
    places = Counter(map(place, trials))
    for one in sorted(places):
        yield one, [trial for trial in trials if place(trial) == one]


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def _words(texts: Sequence[str]) -> str:
    return "; ".join(texts)[:300]
