"""What came of a trial, by the vendor's own records, against what was written beside the fault before it ran.

exact     exit 0 and every record there, once, whole, its children in order
resumed   said by the exit code, and the next run ended exact
gone      the vendor said 404: a hole with exit 0, noted; the next run ended exact
unpromised  wrong, but nothing else is promised; see together.py
SILENT    exit 0 and not exact
BROKEN    said, but the next run did not end exact
HANG      no end within the wall limit
COSTLY    more requests than allowed
LEAK      a canary key in output, files or tables
OTHER     none of these, but not what was expected
"""

from __future__ import annotations

import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.lab.faultlab.runs import Run
from tests.lab.faultlab.world import KEYS, Trial

GOOD = ("exact", "resumed", "gone", "unpromised")


@dataclass(frozen=True)
class Expect:
    """The verdict of a fault, written before any run."""

    first: tuple[str, ...] = ("exact",)
    """What the harmed run may be: exact, resumed, gone."""
    exits: tuple[int, ...] = (0,)
    requests: int | None = None
    """At most so many, of the harmed run or of both, as the trial counts."""
    letters: bool = False
    """Whether dead letters may stay open when all rows are there."""


@dataclass
class Verdict:
    kind: str
    notes: list[str] = field(default_factory=list)
    scanned: int = 0
    """Runs whose output, files and rows were searched for keys."""

    @property
    def good(self) -> bool:
        return self.kind in GOOD


def judge(
    trial: Trial, expect: Expect, truth: Any, harmed: Run, healed: Run, *, after: list[str], requests: int
) -> Verdict:
    """`after`: mismatches right after the harmed run, as far as they were asked for; `truth`: at the very end."""
    verdict = _judged(trial, expect, truth, harmed, healed, after, requests)
    if healed.code != 0:
        return verdict  # bad enough, and there may be no table to search
    leaks = list(canaries(trial))
    kind = "LEAK" if leaks and verdict.good else verdict.kind
    return Verdict(kind, [*leaks, *verdict.notes], scanned=len(trial.runs))


def _judged(
    trial: Trial, expect: Expect, truth: Any, harmed: Run, healed: Run, after: list[str], requests: int
) -> Verdict:
    if "hang" in (harmed.code, healed.code):
        return Verdict("HANG", [f"{harmed.code}, then {healed.code}"])
    kind, notes = _first(trial, expect, harmed, after)
    held = trial.destination.mismatches(trial.folder, trial.source, truth)
    if held and healed.code == 0:
        return Verdict("SILENT", [f"after one more run: {len(held)} differences", *held[:3], *notes])
    if held or healed.code != 0:
        return Verdict("BROKEN", [f"one more run ended with {healed.code}", *held[:3], healed.output[-400:]])
    return _otherwise(trial, expect, requests) or Verdict(kind, notes) if kind in GOOD else Verdict(kind, notes)


def _otherwise(trial: Trial, expect: Expect, requests: int) -> Verdict | None:
    """What may be wrong though every record is there."""
    if expect.requests is not None and requests > expect.requests:
        return Verdict("COSTLY", [f"{requests} requests, {expect.requests} allowed"])
    if not expect.letters and (letters := _letters(trial)):
        return Verdict("OTHER", [f"dead letters stay open: {letters[:2]}"])
    return None


def _first(trial: Trial, expect: Expect, harmed: Run, after: list[str]) -> tuple[str, list[str]]:
    if harmed.code == 0:
        kind = "exact" if not after else ("gone" if "gone" in expect.first else "SILENT")
    else:
        kind = "resumed"
    if kind != "SILENT" and (kind not in expect.first or harmed.code not in expect.exits):
        wanted = f"{'/'.join(expect.first)} with exit {'/'.join(map(str, expect.exits))}"
        return "OTHER", [f"{kind} with exit {harmed.code} instead of {wanted}", *after[:2], harmed.output[-400:]]
    return kind, after[:3] if kind == "SILENT" else []


def _letters(trial: Trial) -> list[tuple[Any, ...]]:
    where = f"{trial.source}.dead_letters where healed_at is null"
    return trial.destination.query(trial.folder, f"select kind, key, reason from {where}")


def canaries(trial: Trial) -> Iterator[str]:
    """Where a key shows, in any form: in what was printed, in any file that is left, in any row."""
    settings = " ".join(trial.destination.settings(trial.folder).values())
    keys = [value for value in KEYS[trial.source].values() if "canary" in value]
    keys += re.findall(r"canary-\w+", settings)
    keys.append(b64encode(":".join(KEYS[trial.source].values()).encode()).decode())
    needles = {form: key for key in keys for form in forms(key)}
    for path in _files(trial.folder):
        content = path.read_bytes()
        yield from (f"{path.name}: {key}" for form, key in needles.items() if form.encode() in content)
    for row in trial.destination.texts(trial.folder, trial.source):
        yield from (f"a row: {key}" for form, key in needles.items() if form in row)


def forms(key: str) -> set[str]:
    """As it is, in a URL, in JSON with slashes escaped, and in base64 whatever stands before and after it."""
    found = {key, quote(key), quote(key, safe=""), quote(key, safe="").lower(), key.replace("/", "\\/")}
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            # the characters that hold bits of what stands beside are left out
            start, end = (before * 8 + 5) // 6, (before + len(key)) * 8 // 6
            found.add(encode(b"x" * before + key.encode() + b"xx").decode()[start:end])
    return found


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)
