"""Decides whether a message of the webhook says anything new, and notes in `runs.told` what it said.

The note is written after the message was delivered, in the row of the run that it was about: so it is there for the
next round, whichever process runs it, and a message that did not arrive is sent again. No HTTP may enter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.evidence.rounds import Round, of_part, parts, read_rounds
from gapless.sources import SOURCES
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from gapless.pipelines.destinations.reader import Reader
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.outcome import Outcome

REMIND_AFTER = timedelta(hours=24)
"""After so long an unchanged message is sent once more."""
GROWN = 1.1
"""Failures for a known reason are news when they are more than so many times as many as before."""


Cell = str | Mapping[str, Any]
"""Of `runs.told`, which some engines return as text, others decoded."""


@dataclass(frozen=True)
class LastMessage:
    """What a message said of one source, with all that was said since its last complete sync."""

    outcome: str
    reasons: Mapping[str, int]
    """The most failures for each reason."""
    at: datetime

    @classmethod
    def of(cls, outcome: Outcome, before: LastMessage | None, now: datetime) -> LastMessage:
        """Returns what a message about this outcome says, and what was said before."""
        reasons, known = reasons_of(outcome), before.reasons if before else {}
        most = {reason: max(reasons.get(reason, 0), known.get(reason, 0)) for reason in {**known, **reasons}}
        return cls(outcome.outcome, most, now)

    @classmethod
    def parse(cls, cell: Cell) -> LastMessage:
        """Returns what a cell of `runs.told` says."""
        found: Mapping[str, Any] = json.loads(cell) if isinstance(cell, str) else cell
        return cls(found["outcome"], found["reasons"], datetime.fromisoformat(found["at"]))

    def to_json(self) -> str:
        """Returns the cell of `runs.told`."""
        return json.dumps({"outcome": self.outcome, "reasons": dict(self.reasons), "at": self.at.isoformat()})


@dataclass(frozen=True)
class Past:
    """What is known of a source's earlier runs: since its last complete one, without this one."""

    runs: Sequence[tuple[str, datetime | None]] = ()
    """Outcome and start, newest first."""
    last: LastMessage | None = None
    """What was said last."""
    notes: bool = True
    """Whether the destination can hold what is said; without that the runs alone decide."""


@dataclass(frozen=True)
class News:
    """Whether there is something to say of a round."""

    changed: bool
    """Something differs from what was said last."""
    due: bool
    """It was said long ago."""
    past: Mapping[str, Past] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.changed or self.due


def reasons_of(outcome: Outcome) -> dict[str, int]:
    """Returns how much failed for each reason, without an id and without the vendor's words."""
    reasons: dict[str, int] = {}
    for problem in outcome.problems:
        key = f"{problem.kind} {problem.stream} {problem.status or ''}".strip()
        reasons[key] = reasons.get(key, 0) + len(problem.gaps)
    for failure in outcome.unexplained:
        key = f"{failure.kind} {failure.stream}".strip()
        reasons[key] = reasons.get(key, 0) + 1
    return {**reasons, **({outcome.error_kind: 1} if outcome.error_kind else {})}


def is_changed(outcome: Outcome, past: Past) -> bool:
    """Returns whether a source's outcome or reasons differ from what was said last."""
    if outcome.outcome == "complete":
        if outcome.scope:  # a part that was read ends nothing of what failed
            return False
        # A sync that somebody interrupted was no alarm, and its end is no recovery.
        return past.last is not None if past.notes else bool(past.runs)
    if not past.notes:
        return not past.runs or past.runs[0][0] != outcome.outcome
    last = past.last
    if last is None or last.outcome != outcome.outcome:
        return True
    return any(count > GROWN * last.reasons.get(reason, 0) for reason, count in reasons_of(outcome).items())


def is_due(outcome: Outcome, past: Past, now: datetime) -> bool:
    """Returns whether what is unchanged should be said once more."""
    if outcome.outcome == "complete" or not past.runs:
        return False
    if past.last:
        return now - past.last.at >= REMIND_AFTER
    # Nothing is noted here: each full day since the first of these runs is a reason to say it.
    first, last = past.runs[-1][1], past.runs[0][1]
    return not past.notes and _days(first, now) > _days(first, last)


def _days(first: datetime | None, time: datetime | None) -> int:
    return (time - first) // REMIND_AFTER if first and time else 0


def news(target: Target, outcomes: Sequence[Outcome], now: datetime) -> News:
    """Returns whether these outcomes are to be reported. Raises GaplessError if the destination cannot be read."""
    from gapless.pipelines.destinations.reader import reading

    with reading(target) as reader:
        past = {one.source: _past(reader, one, target) for one in outcomes}
    changed = [is_changed(one, past[one.source]) for one in outcomes]
    due = [is_due(one, past[one.source], now) for one in outcomes]
    return News(any(changed), any(due), past)


def _past(reader: Reader, outcome: Outcome, target: Target) -> Past:
    """Returns what is known of a source's runs since its last complete one, of the same shard."""
    from gapless.pipelines.sync.history import not_complete

    name = outcome.source
    shard = target.shard if SOURCES[name].split_by else Shard()
    notes = target.backend.updates_rows and "told" in reader.columns(name, ["runs"]).get("runs", ())
    found = not_complete(reader, name, shard, outcome.run_id, with_message=notes)
    said = next((cell for *_, cell in found if cell), None) if notes else None
    if notes and SOURCES[name].split_by and outcome.outcome == "complete" and not outcome.scope:
        said = _said_of_any_part(reader, outcome, said)
    return Past([(run[0], as_utc(run[1])) for run in found], LastMessage.parse(said) if said else None, notes)


def _said_of_any_part(reader: Reader, outcome: Outcome, of_this: Cell | None) -> Cell | None:
    """Returns what was said since a source that may be split was last complete; None while a part of it is not.

    One shard that comes to its end is no end of what was said of another, or of the whole source before it was split.
    """
    rounds = read_rounds(reader, outcome.source, datetime.now(UTC))
    before = [one for one in rounds if one.run_id != outcome.run_id]
    if any(_is_open(next(iter(of_part(rounds, part)), None)) for part in parts(rounds)):
        return None
    found = reader.rows(outcome.source, "select run_id, told from {0} where told is not null", "runs") or ()
    told: dict[str, Cell] = {str(run_id): cell for run_id, cell in found}
    since = (one for part in parts(before) for one in takewhile(_is_open, of_part(before, part)))
    return of_this or next((told[one.run_id] for one in since if one.run_id in told), None)


def _is_open(round_: Round | None) -> bool:
    """Returns whether a part was not read to its end by this round of it; None: by none."""
    return round_ is None or round_.outcome != "complete"


def note(target: Target, outcomes: Sequence[Outcome], found: News, now: datetime) -> None:
    """Notes what was said; it raises nothing, as at worst the same is said once more."""
    past = {name: past for name, past in found.past.items() if past.notes}
    bad = {one.source: one for one in outcomes if one.outcome != "complete" and one.source in past}
    if not bad:
        return
    with suppress(Exception), target.locked(*bad) as folder:
        for name, one in bad.items():
            said = LastMessage.of(one, past[name].last, now).to_json()
            pipeline = target.pipeline(name, folder)
            with pipeline.sql_client() as client:
                runs = client.make_qualified_table_name("runs")
                client.execute_sql(f"update {runs} set told = %s where run_id = %s", said, one.run_id)
            pipeline.deactivate()


def error_is_news(target: Target, kind: str, now: datetime) -> bool:
    """Returns whether an error that ended a whole round, such as a server that is away, was not said within a day.

    The destination cannot hold a note of it, so a local file does; without that file it is said again.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(_file(target).read_text())
        return bool(found["error"] != kind or now - datetime.fromisoformat(found["at"]) >= REMIND_AFTER)
    return True


def note_error(target: Target, kind: str | None, now: datetime) -> None:
    """Notes that such an error was said; None: the round came to its end, so the next error is news again."""
    with suppress(OSError):
        if kind is None:
            _file(target).unlink(missing_ok=True)
        else:
            _file(target).write_text(json.dumps({"error": kind, "at": now.isoformat()}))


def _file(target: Target) -> Path:
    return Path(f"{target.working_folder()}.told")
