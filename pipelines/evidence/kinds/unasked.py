"""Finds what was not asked for: rounds that failed, shards that never ran, parents never read, checks too old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from gapless.pipelines.evidence.gap import IN_DOUBT, Failed, Gap
from gapless.pipelines.evidence.kinds.ledger import Ledger, text
from gapless.pipelines.evidence.rounds import Round, failed_since, last_round, never_ran
from gapless.sources._ledger.shard import Shard

ANY_ROW = "select 1 from {0} limit 1"


def rounds(ledger: Ledger) -> Iterator[Gap]:
    """Yields a gap when the last syncs, or those of one shard, failed altogether and left parents unasked."""
    for shard, failed in failed_since(ledger.rounds):
        if _asked_all(ledger, shard, failed[0]):
            continue  # what it did not read is told of each
        proofs = [one for one in ledger.proofs.values() if not one.gone and shard.contains(one.parent)]
        since = min(filter(None, (proof.last_checked_at for proof in proofs)), default=None)
        times = f"{len(failed):,} rounds failed" if len(failed) > 1 else "1 round failed"
        when = (
            f"not asked since {since.isoformat(timespec='seconds')}" if since else _in_doubt(ledger) or "never read"
        )
        how = Failed(failed[0].error or "", times=len(failed), first_at=text(failed[-1].started_at))
        why, fill = f"{when}, {times}: {failed[0].error}", ledger.commands.sync(shard=shard)
        yield ledger.gap("not asked", why, fill, since=text(since), failed=how)


def _asked_all(ledger: Ledger, shard: Shard, failed: Round) -> bool:
    """Returns whether a round failed after it had asked for everything."""
    asked = [one.last_checked_at for one in ledger.proofs.values() if not one.gone and shard.contains(one.parent)]
    began, ended = failed.started_at, failed.finished_at
    # What was asked for later, by its id, is no part of that round.
    if not (asked and began and ended):
        return False
    return all(at and began <= at <= ended for at in asked)


def _in_doubt(ledger: Ledger) -> str:
    """Returns that proofs are in doubt, since the last load that broke off; empty where none is."""
    newest = max(filter(None, (proof.broke_off for proof in ledger.proofs.values())), default=None)
    return f"{IN_DOUBT}{newest:%Y-%m-%d %H:%M} UTC" if newest else ""


def never_asked(ledger: Ledger) -> Iterator[Gap]:
    """Yields parents that are listed and have no proof; the whole stream when nothing shows that it was read."""
    listed = ledger.listed
    for parent in listed:
        if parent not in ledger.proofs:
            # Not by its id: it may be gone by now, and only a sync reads the listing.
            yield ledger.gap("never asked", "listed, and never read", ledger.commands.sync(), parent)
    if why := _unread(ledger, listed):
        yield ledger.gap("never asked", why, ledger.commands.sync())
    elif why := _untold(ledger):
        yield ledger.gap("not asked", why, ledger.commands.sync(), failed=Failed(why))


def _unread(ledger: Ledger, listed: list[str]) -> str | None:
    """Returns why nothing shows that the stream was read; None when something does."""
    if ledger.rounds and ledger.rounds[0].failed:
        return None  # `rounds` says it
    parents = ledger.stream.parents
    if parents is None:
        return None if ledger.proofs else "no sync has read it: what is here was asked for by itself"
    if listed or _listed_at_all(ledger):
        return None
    if ledger.proofs:
        return None if ledger.chosen else f"its {parents.noun} were never listed"
    # Nothing is listed, proven or here: that is an account without a parent, if a sync came to its end.
    ended = ledger.rounds and ledger.rounds[0].outcome == "complete"
    empty = ended and not ledger.rows(ANY_ROW, ledger.main.name)
    return None if empty else f"no sync has listed its {parents.noun}"


def _untold(ledger: Ledger) -> str | None:
    """Returns that no sync of all that is new is noted, though something was read: somebody took the notes away."""
    if ledger.rounds or not any(one.last_checked_at for one in ledger.proofs.values()):
        return None
    return "nothing says how its last syncs ended: they may have failed"


def _listed_at_all(ledger: Ledger) -> bool:
    parents = ledger.stream.parents
    return bool(parents and ledger.rows(ANY_ROW, parents.table.name))


def stale(ledger: Ledger, max_age: timedelta | None = None) -> Iterator[Gap]:
    """Yields one gap for the parents not checked within the vendor's retention, or within `max_age`."""
    read = set(ledger.listed) if ledger.stream.parents else {""}
    proofs = [proof for proof in ledger.proofs.values() if proof.parent in read and not proof.gone]
    checks = [proof.last_checked_at for proof in proofs] or _listed_at(ledger)
    # The vendor's limit first: beyond it records are lost, beyond the user's they are only late.
    for limit, what in ((ledger.source.facts.keeps, "the vendor keeps records"), (max_age, "--max-age allows")):
        late = [at for at in checks if limit and at and ledger.now - at > limit]
        if late and limit:
            lost = ": what it forgot is lost" if limit is not max_age else ""
            why = f"{len(late):,} of {len(checks):,} were not asked for longer than {what} ({_span(limit)}){lost}"
            yield ledger.gap("stale", why, ledger.commands.sync(), since=text(min(late)), until=text(ledger.now))
            return


def _listed_at(ledger: Ledger) -> list[datetime | None]:
    """Returns when an account without a parent was listed last: no proof says it."""
    last = last_round([one for one in ledger.rounds if not one.failed])
    return [last.started_at] if last and ledger.stream.parents else []


def shards(ledger: Ledger) -> Iterator[Gap]:
    """Yields the shards of the newest split that never ran, unless the whole source was synced since."""
    for shard in never_ran(ledger.rounds):
        why = f"shard {shard} has not run: its parents are not even listed"
        yield ledger.gap("shard", why, ledger.commands.sync(shard=shard))


def _span(time: timedelta) -> str:
    return f"{time.days} days" if time >= timedelta(days=2) else f"{time.total_seconds() / 3600:g} hours"
