"""Checks that a source's settings name the account whose rows are in a destination, before a job begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.gap import Commands
from gapless.pipelines.evidence.seen import take_in_left
from gapless.pipelines.evidence.stored_state import OpenDataset, source_state
from gapless.pipelines.sync.build import is_served
from gapless.sources import SOURCES, Source
from gapless.sources._ledger.account.identity import AccountCheck, SameAccount, advice
from gapless.sources._ledger.session import Session


@dataclass(frozen=True)
class StoredDataset:
    """The rows of one source in a destination; each query opens it anew, so that a sync may write meanwhile."""

    target: Target
    source: Source

    def rows(self, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of a select; None: a table is missing."""
        with reading(self.target) as reader:
            return OpenDataset(reader, self.source).rows(select, *tables)

    def columns(self, table: str) -> set[str]:
        """Returns the columns of a table; empty: unknown, or it is missing."""
        with reading(self.target) as reader:
            return OpenDataset(reader, self.source).columns(table)


def require_account(reader: Reader, source: Source, session: Session, target: Target) -> str | None:
    """Checks the account of a sync that is about to begin; returns what a person should know.

    Raises AnotherAccount, SameAccount, and what the requests of a proof by ids raise.
    """
    state = source_state(reader, source)
    if state is None:
        _require_new(target, source, session)
    return check_of(session).require(state or {}, OpenDataset(reader, source), _remedy(source, target.destination))


def _require_new(target: Target, source: Source, session: Session) -> None:
    """Raises SameAccount where the rows of this account are here, under a name that is not synced any more.

    They would be there twice, and in every view. It costs requests only where such a dataset is of the same host.
    """
    states = {}
    with reading(target) as reader:
        take_in_left(reader, target)
        others = [one for one in SOURCES.values() if one.package == source.package and one.name != source.name]
        for other in others:
            if (state := source_state(reader, other)) is not None and not is_served(other.name):
                states[other] = state
    for other, state in states.items():
        if check_of(session).is_under(other.name, state, StoredDataset(target, other)):
            back = f'[accounts] {other.name} = "{other.vendor}", and ' * other.is_named
            old = Commands.at(other, target).typed(f"state drop {other.name}")
            raise SameAccount(
                f"{source.name}: the records of its account are here as {other.name}, which has no settings any more,"
                f" and would be here twice. Go on as {other.name} ({back}{other.needs[0].upper()} …), or delete that"
                f" first: {old}"
            )


def require_account_at(target: Target, source: Source, session: Session) -> None:
    """Does as `require_account` for a command that only reads, and does not keep the destination open."""
    with reading(target) as reader:
        state = source_state(reader, source) or {}
    check_of(session).require(state, StoredDataset(target, source), _remedy(source, target.destination))


def other_account(reader: Reader, source: Source, session: Session, destination: str) -> tuple[str, str] | None:
    """Returns whose rows are here instead, and what to do; None where only requests could show it."""
    other = check_of(session).other(source_state(reader, source) or {})
    return (other, advice(_remedy(source, destination))) if other else None


def check_of(session: Session) -> AccountCheck:
    """Returns the check that a source made when it was built with this session."""
    assert session.account
    return session.account


def _remedy(source: Source, destination: str) -> str:
    command = Commands(source, destination).typed(f"state adopt {source.name}")
    return f"`{command}` proves it by ids, or takes your word where none is left"
