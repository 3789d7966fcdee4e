"""Takes over another host, id or key of an account, where ids prove that its rows are here, or a person says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gapless.pipelines.destinations.reader import reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, WrongSettings, explain
from gapless.pipelines.evidence.stored_state import source_state
from gapless.pipelines.ledger import state
from gapless.pipelines.sync.account import StoredDataset, check_of
from gapless.pipelines.sync.build import build
from gapless.sources import SOURCES
from gapless.sources._dlt.types import State
from gapless.sources._http.errors import VendorError
from gapless.sources._ledger.account.evidence import Evidence
from gapless.sources._ledger.account.identity import ACCOUNTS, AccountCheck
from gapless.sources._ledger.session import LoadItem, Session
from gapless.sources._ledger.stored.reader import Ledger


@dataclass(frozen=True)
class Adoption:
    """What the settings name and what is here; it holds the proof that both are one account, or that none is left."""

    source: str
    before: str | None
    """The host whose rows are here; None: an older version did not note it."""
    host: str
    """The host that the settings name."""
    evidence: Evidence
    check: AccountCheck = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values; no key is among them."""
        found = self.evidence
        proof = {"served": found.served, "same": found.same, "other": found.other, "proven": found.proven}
        return {"source": self.source, "from": self.before, "to": self.host, **proof}


def proposed(target: Target, name: str) -> Adoption | None:
    """Asks the vendor for some of what is here, and compares; None: nothing was synced yet.

    Where nothing is left to compare, the proof is open. Raises WrongSettings where it fails, GaplessError where the
    vendor cannot be asked, Locked.
    """
    source, session = SOURCES[name], Session()
    with reading(target) as reader:
        stored = source_state(reader, source)
    if stored is None:
        return None
    build(source, session)
    check = check_of(session)
    try:
        found = check.prove(StoredDataset(target, source))
    except VendorError as error:
        raise GaplessError(f"{name}: the account cannot be compared: {explain(error)}") from error
    finally:
        if session.client:
            session.client.close()
    if not (found.proven or found.open):
        raise WrongSettings(
            f"{name}: nothing was changed: {check.account.host} is another account: {found}. Give each account a"
            " database of its own, or a name of its own ([accounts] in .dlt/config.toml)"
        )
    return Adoption(name, stored.get(ACCOUNTS, {}).get(name, {}).get("host"), check.account.host, found, check)


def adopt(target: Target, adoption: Adoption) -> None:
    """Writes the account that the settings name to the source's state. Raises Locked, GaplessError."""
    import dlt

    def steps(ledger: Ledger, walk: State) -> Iterator[LoadItem]:
        adoption.check.remember(dlt.current.source_state())
        yield LoadItem([])

    state.write(target, adoption.source, steps)
