"""Says up to when the data is proven complete, and what is not: each answer carries it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from gapless.pipelines.evidence import completeness
from gapless.pipelines.evidence.completeness import Completeness
from gapless.pipelines.evidence.gap import Gap
from gapless.pipelines.evidence.grouping import problems
from gapless.pipelines.evidence.proofs import low_watermark, read_proofs
from gapless.pipelines.evidence.sentences import sentence
from gapless.pipelines.mcp_server.values import safe
from gapless.pipelines.redaction import Json
from gapless.pipelines.ui.database.session import Database
from gapless.pipelines.ui.site import Site
from gapless.sources import SOURCES

SHOWN = 20
"""Accounts of which an answer says more than that they are complete, and problems of one of them."""


@dataclass(frozen=True)
class Verdict:
    """What is known of one account."""

    account: str
    proven_to: datetime | None
    """Up to when all of it is proven complete; None: nothing is proven, of a part at least."""
    checked_at: datetime | None
    """When the vendor was last asked."""
    gaps: list[Gap]

    def to_json(self, now: datetime) -> dict[str, Json]:
        """Returns it as JSON values, with a sentence for each problem."""
        found = problems(self.gaps)
        return {
            "account": self.account,
            "vendor": SOURCES[self.account].vendor,
            "complete": not found,
            "proven_to": safe(self.proven_to),
            "last_checked_at": safe(self.checked_at),
            "not_proven": [safe(sentence(problem, now)) for problem in found[:SHOWN]],
            "problems": len(found),
        }


def verdicts(site: Site, db: Database) -> list[Verdict]:
    """Returns the verdict on each account that the database holds."""
    return site.remembered(("verdicts",), lambda: [_verdict(db, one) for one in _found(site, db)])


def _found(site: Site, db: Database) -> Iterator[Completeness]:
    return completeness.verdicts(db.reader, site.target.target, now=site.clock())


def _verdict(db: Database, found: Completeness) -> Verdict:
    name, gaps, reader = found.source, found.gaps, db.reader
    source = SOURCES[name]
    # A ledger that is damaged is a gap, and nothing else is known then.
    proofs = [] if any(gap.kind == "damaged" for gap in gaps) else read_proofs(reader, name, source.main.name) or []
    checked = max(filter(None, (proof.last_checked_at for proof in proofs)), default=None)
    return Verdict(name, low_watermark(proofs), checked, gaps)


def summary(found: list[Verdict], now: datetime) -> dict[str, Json]:
    """Returns what every answer carries: the verdict on all accounts, and on each unless they are many."""
    ends = [one.proven_to for one in found]
    open_ = [one for one in found if one.gaps]
    shown = found if len(found) <= SHOWN else open_[:SHOWN]
    return {
        "complete": bool(found) and not open_,
        "proven_to": None if None in ends else safe(min(filter(None, ends), default=None)),
        "accounts": len(found),
        "not_complete": len(open_),
        "by_account": [one.to_json(now) for one in shown],
    }
