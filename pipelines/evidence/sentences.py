"""Says in one sentence what is not complete: how much of how much, why, since when, what is missing, what comes next.

Every place says it in these words. The facts are the ledger's; no text of a record may enter.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gapless.pipelines.evidence.grouping import Problem, examples, is_plain_sync
from gapless.pipelines.printable import command
from gapless.pipelines.printable import words as words_of
from gapless.sources import SOURCES

VERBS = ("failing", "not asked", "dead letter", "interval", "backfill")
"""Kinds of gap whose reason is the rest of the sentence: "3 leads" and then "answered 500"."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def sentence(problem: Problem, now: datetime | None = None, *, private: bool = False) -> str:
    """Returns the problem on one line, with what comes next and the command that lists it, or that mends it.

    With `private` it has no id and no words of the vendor, for places that others read.
    """
    now = now or datetime.now(UTC)
    # Several are listed by the command at the end of the sentence.
    subject = what(problem, ids=not private and len(problem.ids) == 1)
    said = f"{subject}{' ' if problem.kind in VERBS else ': '}{reason(problem, now, private=private)}"
    parts = (f"{problem.source}: {said.removeprefix(': ')}", _and_then(problem, now), next_step(problem))
    return "; ".join(filter(None, parts))


def described(problem: Problem, now: datetime | None = None) -> dict[str, object]:
    """Returns the problem as JSON values, its sentence under `message`."""
    return {**problem.to_json(), "message": sentence(problem, now)}


def what(problem: Problem, *, ids: bool = True) -> str:
    """Returns what is not complete: "49 of 403 leads", "3 action logs"; with `ids` also the first ones."""
    count = len(problem.gaps)
    if problem.of is not None:
        said = f"{count:,} of {max(problem.of, count):,} {_parents(problem.source)}"
    elif problem.kind == "failing":
        said = f"the list of {_listed(problem)}"
    elif problem.kind == "not asked":
        typed = words_of(problem.fill)
        shard = typed[typed.index("--shard") + 1] if "--shard" in typed else ""
        said = f"shard {shard}" if shard else "the whole source"
    elif problem.kind == "dead letter":
        said = f"{count:,} {words(problem.stream) if count > 1 else _singular(words(problem.stream))}"
    else:
        stream = words(problem.stream) if problem.kind in VERBS else problem.stream
        said = stream if count == 1 else f"{count:,} parts of {stream}"
    return f"{said} ({examples(problem.ids)})" if ids and problem.ids else said


def reason(problem: Problem, now: datetime, *, private: bool = False) -> str:
    """Returns why, how many rounds in a row, and since when."""
    detail = f": {problem.reason}" if problem.reason and not private else ""
    how_often = _rounds(problem.times, problem.first_at, now, "attempt" if problem.kind == "dead letter" else "round")
    if problem.kind in ("failing", "not asked"):
        said = f"answered {problem.status}{detail}" if problem.status else f"failed{detail}"
    elif problem.kind == "dead letter":
        is_open = "is open" if len(problem.gaps) == 1 else "are open"
        said = (is_open if _is_about_more_than_reading(problem.reason) else "could not be read") + detail
    elif problem.kind in ("interval", "backfill") or (problem.kind == "lost" and problem.until):
        start = moment(problem.since, now) if problem.since else "the beginning"
        said = f"from {start} to {moment(problem.until, now) if problem.until else 'now'}: {problem.reason}"
    else:
        said = problem.reason if len(problem.gaps) == 1 else f"for example: {problem.reason}"
    return f"{said} ({how_often})" if how_often else said


def missing(problem: Problem, now: datetime) -> str:
    """Returns which records are not here because of it, since which creation time; empty if the reason says it."""
    records = words(SOURCES[problem.source].main.name)
    if problem.kind == "not asked":
        in_doubt = _in_doubt(problem)
        nothing = f"{in_doubt}; the next sync reads it again" if in_doubt else "nothing is here yet"
        return f"not read since {moment(problem.since, now)}" if problem.since else nothing
    if problem.kind == "dead letter":
        return f"kept in {problem.source}.dead_letters"
    if problem.kind != "failing":
        return ""
    if problem.of is None:
        return f"new {_listed(problem)} are not read"
    starts = [gap.since for gap in problem.gaps if gap.since]
    none = sum(gap.since is None and not gap.failed.was_empty for gap in problem.gaps)
    if not starts:
        return (
            f"none of their {records} are proven to be here yet" if none else f"their new {records} are not here yet"
        )
    since = f"their {records} since {moment(min(starts), now)}"
    return f"{since}{f', and of {none:,} of them since the beginning,' if none else ''} are not here yet"


def _and_then(problem: Problem, now: datetime) -> str:
    """Returns what is missing, and that the next sync tries it first where it does."""
    here = missing(problem, now)
    first = problem.kind in ("failing", "dead letter") and is_plain_sync(problem.fill)
    return f"{here} and {'are ' if problem.kind == 'failing' else ''}tried first next time" if first else here


def next_step(problem: Problem) -> str:
    """Returns the command that lists it, where a sync mends it; else the command that does."""
    if problem.kind == "not asked" and problem.reason == "interrupted":
        return f"`{problem.fill}` goes on"
    if problem.kind == "not asked":
        return f"`{command(destination_of(problem), 'doctor')}` checks for the cause"
    if not is_plain_sync(problem.fill):
        return f"`{problem.fill}` mends it"
    listed = f"`{command(destination_of(problem), 'gaps', problem.source)}`"
    again = "" if problem.kind in ("failing", "dead letter") or _in_doubt(problem) else "the next sync reads it; "
    return f"{again}{listed} lists {'them' if len(problem.gaps) > 1 else 'it'}"


def destination_of(problem: Problem) -> str:
    """Returns the destination that the problem's command names."""
    typed = words_of(problem.fill)
    return typed[typed.index("--destination") + 1] if "--destination" in typed else "duckdb"


def failed_source(
    source: str, error: str, times: int, first_at: datetime | None, proven_to: datetime | None, now: datetime
) -> str:
    """Returns the sentence for a source that failed as a whole; `proven_to` is its newest watermark."""
    how_often = _rounds(times, first_at.isoformat() if first_at else None, now, "round")
    error = error.removeprefix(f"{source.partition(' ')[0]}: ")  # a refusal names its source itself
    here = f"nothing newer than {moment(proven_to.isoformat(), now)} is proven to be here" if proven_to else ""
    return "; ".join(
        filter(None, (f"{source} failed: {error.rstrip('.')}{f' ({how_often})' if how_often else ''}", here))
    )


def moment(time: str, now: datetime) -> str:
    """Returns a time as "1 March 07:20 UTC", with its year if that is not the year of `now`."""
    at = datetime.fromisoformat(time).astimezone(UTC)
    return f"{at.day} {at:%B}{f' {at.year}' if at.year != now.year else ''} {at:%H:%M} UTC"


def words(table: str) -> str:
    """Returns a table's name as words."""
    return table.replace("__", " ").replace("_", " ")


def _in_doubt(problem: Problem) -> str:
    """Returns since when the proof is in doubt; empty: it is not."""
    # Here, because it takes long to import and `--help` must not.
    from gapless.pipelines.evidence.gap import IN_DOUBT

    said = re.match(rf"{IN_DOUBT}[\d :-]+UTC", problem.gaps[0].why)
    return said[0] if said else ""


def _is_about_more_than_reading(reason: str) -> bool:
    """Returns whether a dead letter's reason says another thing than why a record could not be read."""
    # Here, because it takes long to import and `--help` must not.
    from gapless.pipelines.evidence.gap import DIFFERS, MISSING
    from gapless.sources._ledger.dead_letters import NOT_COPIED, OF_TWO

    return reason.startswith((MISSING, DIFFERS, NOT_COPIED, OF_TWO))


def _singular(noun: str) -> str:
    return f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")


def _listed(problem: Problem) -> str:
    """Returns what the listing lists that is not complete: the parents, or what is listed beside the records."""
    return SOURCES[problem.source].side_nouns.get(problem.stream) or _parents(problem.source)


def _parents(source: str) -> str:
    parents = SOURCES[source].stream.parents
    return parents.noun if parents else "records"


def _rounds(times: int, first_at: str | None, now: datetime, unit: str) -> str:
    """Returns "third round in a row, first at 08:14 UTC"; a day with the time if it was not today."""
    if times < 1:
        return ""
    at = datetime.fromisoformat(first_at).astimezone(UTC) if first_at else None
    today = at is not None and at.date() == now.astimezone(UTC).date()
    when = f"{at:%H:%M} UTC" if at and today else moment(first_at, now) if first_at else ""
    if times == 1:
        return f"for the first time, at {when}" if when else ""
    said = f"{_ordinal(times)} {unit}{' in a row' if unit == 'round' else ''}"
    return f"{said}, first at {when}" if when else said


def _ordinal(number: int) -> str:
    """Returns "third", or "23rd" beyond the tenth."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    teens = 10 < number % 100 < 20
    return f"{number:,}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
