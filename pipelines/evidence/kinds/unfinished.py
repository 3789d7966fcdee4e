"""Finds what was begun and is not ended: dead letters, backfills, a privacy policy that older rows do not follow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from gapless.pipelines.evidence.emptied import KINDS as EMPTIED
from gapless.pipelines.evidence.emptied import Emptied, read_emptied
from gapless.pipelines.evidence.gap import Failed, Gap, was_not_found
from gapless.pipelines.evidence.kinds.ledger import Ledger, text
from gapless.pipelines.evidence.policy import is_applicable, policy_changed
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.evidence.stored_state import backfills as stored_backfills
from gapless.pipelines.printable import counted, quoted
from gapless.sources._ledger.erasure.tombstones import ERASED
from gapless.sources._ledger.stored.cells import instant


def letters(ledger: Ledger) -> Iterator[Gap]:
    """Yields the open dead letters."""
    failing = {proof.parent for proof in ledger.open if proof.failures}
    for stream, kind, key, parent, reason, attempts, first in ledger.letters:
        if kind in EMPTIED:
            continue
        # A parent without a key is the listing of parents.
        why = f"{f'{kind} {key}: ' if key else ''}{reason} ({counted(int(attempts), 'attempts')})"
        how = Failed(reason, "" if kind == "parent" else key, int(attempts), text(as_utc(first)))
        if kind != "parent":
            alone = parent if parent and _is_served(ledger, parent) else None
            fill, of = ledger.commands.retry(stream, kind, alone, reason), parent or _named(ledger, stream, key)
            yield ledger.gap("dead letter", why, fill, of, stream=stream, failed=how)
        # A failing parent has a proof that says so, and would be told twice.
        elif key not in failing:
            yield ledger.gap("failing", why, ledger.commands.sync(key, reason), key, stream=stream, failed=how)


def _is_served(ledger: Ledger, parent: str) -> bool:
    """Returns whether the vendor is known to have a parent; of another one only the listing says that it is gone."""
    if proof := ledger.proofs.get(parent):
        return not was_not_found(proof.error or "")
    return parent in ledger.listed


def _named(ledger: Ledger, stream: str, key: str) -> str:
    """Returns the parent that a dead letter of the listing of parents is about; empty for any other stream."""
    parents = ledger.stream.parents
    return key if parents and stream == parents.table.name else ""


def emptied(ledger: Ledger) -> Iterator[Gap]:
    """Yields rows and cells that nobody has any more: somebody took them away, and their records are not served."""
    if any(one.last_checked_at is None and not one.gone for one in ledger.proofs.values()):
        return  # the next sync reads the rest again, which is told
    for one in read_emptied(ledger.reader, ledger.source):
        if one.rows:
            fill = ledger.commands.acknowledge(one.at.isoformat())
            yield ledger.gap("lost", _what_is_gone(one), fill, stream=one.table)


def _what_is_gone(one: Emptied) -> str:
    rows = counted(one.rows, "rows")
    if one.column:
        return f"somebody took the column {one.column} away, and {rows} could not be read again: they lack its cells"
    if one.had is None:
        return "somebody took the table away, and nothing says how many rows it had: those served no more are lost"
    return f"somebody took rows away, and {rows} of the {one.had:,} that were there could not be read again"


def policy(ledger: Ledger) -> Iterator[Gap]:
    """Yields a gap when the privacy policy is another one than that under which older rows were written."""
    if policy_changed(ledger.reader, ledger.source):
        why = f"{ledger.source.name.upper()}_PRIVACY was changed: older rows are as another policy left them"
        fill = ledger.commands.apply_policy(here=is_applicable(ledger.reader, ledger.source))
        yield ledger.gap("privacy", why, fill)


def backfills(ledger: Ledger) -> Iterator[Gap]:
    """Yields the backfills that began and are not done, unless all of their window is older than is kept."""
    ((kept,),) = ledger.rows("select max(kept_from) from {0}", ERASED) or [(None,)]
    for window, progress in stored_backfills(ledger.reader, ledger.source).items():
        if "done" in progress:
            continue
        since, _, until = window.partition("/")
        if kept and until and datetime.fromisoformat(until) <= (instant(kept) or ledger.now):
            continue
        count = len(progress.get("failed", ()))
        why = f"stopped at {progress.get('part') or 0:.0%}" + (f", {count:,} failed" if count else "")
        fill = f"backfill {ledger.source.name} --since {quoted(since)} --until {quoted(until)}"
        yield ledger.gap("backfill", why, fill, since=since, until=until)
