"""Checks that a source's settings name the account whose rows are in a destination, before a job begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gapless.pipelines.destinations.reader import Reader, reading
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.evidence.stored_state import source_state
from gapless.sources import Source
from gapless.sources._ledger.account.identity import AccountCheck, advice
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


@dataclass(frozen=True)
class OpenDataset:
    """The rows of one source, by a reader that is open."""

    reader: Reader
    source: Source

    def rows(self, select: str, *tables: str) -> list[tuple[Any, ...]] | None:
        """Returns the rows of a select; None: a table is missing."""
        return self.reader.rows(self.source.name, select, *tables)

    def columns(self, table: str) -> set[str]:
        """Returns the columns of a table; empty: unknown, or it is missing."""
        return self.reader.columns(self.source.name, [table]).get(table, set())


def require_account(reader: Reader, source: Source, session: Session) -> str | None:
    """Checks the account of a sync that is about to begin; returns what a person should know.

    Raises AnotherAccount, and what the requests of a proof by ids raise.
    """
    state = source_state(reader, source) or {}
    return check_of(session).require(state, OpenDataset(reader, source), _remedy(source))


def require_account_at(target: Target, source: Source, session: Session) -> None:
    """Does as `require_account` for a command that only reads, and does not keep the destination open."""
    with reading(target) as reader:
        state = source_state(reader, source) or {}
    check_of(session).require(state, StoredDataset(target, source), _remedy(source))


def other_account(reader: Reader, source: Source, session: Session) -> tuple[str, str] | None:
    """Returns whose rows are here instead, and what to do; None where only requests could show it."""
    other = check_of(session).other(source_state(reader, source) or {})
    return (other, advice(_remedy(source))) if other else None


def check_of(session: Session) -> AccountCheck:
    """Returns the check that a source made when it was built with this session."""
    assert session.account
    return session.account


def _remedy(source: Source) -> str:
    return f"`gapless state adopt {source.name}` proves it by ids, or takes your word where none is left"
