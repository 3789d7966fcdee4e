"""What counts as the same record, where ids of two accounts overlap; and what is remembered of a key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gapless.sources._ledger.account.evidence import Evidence, rows_of
from gapless.sources._ledger.account.identity import ACCOUNTS, KEYS, Account, AccountCheck, AnotherAccount
from gapless.sources._ledger.ledger import MERGE
from gapless.sources._schema.arrow import Table, to_arrow
from gapless.sources._schema.record import Instant, Record, Text

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Event(Record):
    id: Text
    parent: Text | None = None
    what: Text | None = None
    who: Text | None = None
    created_at: Instant | None = None


EVENTS = Table("events", Event, ("id",), MERGE)
FIRST = {"id": "1", "parent": "p", "what": "opened", "who": "Ada", "created_at": AT}


class Stored:
    """The rows that are here, of which an older version may have written fewer columns."""

    def __init__(self, *rows: dict[str, Any], lacking: str = "") -> None:
        self._rows, self._lacking = made(*rows), lacking

    def columns(self, table: str) -> set[str]:
        return {*self._rows[0]} - {self._lacking}

    def rows(self, select: str, *tables: str) -> list[tuple[Any, ...]]:
        names = [name.strip(' "') for name in select.removeprefix("select").partition(" from ")[0].split(",")]
        assert self._lacking not in names
        return [tuple(row[name] for name in names) for row in self._rows]


def made(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return rows_of(EVENTS, [Event.model_validate(row) for row in rows], to_arrow)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (1, 0)),
        ({"what": "closed"}, (1, 0)),  # one text of two was changed
        ({"created_at": AT + timedelta(seconds=1)}, (0, 1)),
        ({"created_at": AT + timedelta(microseconds=500)}, (1, 0)),  # a destination rounds
        ({"what": "closed", "who": "Bo"}, (0, 1)),
        ({"parent": "q"}, (0, 0)),
        ({"created_at": None}, (0, 0)),
        ({"id": "2"}, (0, 0)),
    ],
)
def test_the_same_record(change: dict[str, Any], expected: tuple[int, int]) -> None:
    """By its id, time and parent; and not with other texts throughout, as of two accounts that began alike."""
    found = Evidence(stored=True)
    found.add(Stored(FIRST), EVENTS, made({**FIRST, **change}), "parent")
    assert (found.served, found.same, found.other) == (1, *expected)
    assert found.proven == (expected == (1, 0))


def test_a_table_of_an_older_version() -> None:
    """A column that is not there is not asked for."""
    found = Evidence(stored=True)
    found.add(Stored(FIRST, lacking="who"), EVENTS, made(FIRST), "parent")
    assert found.proven


def test_the_key_is_not_stored() -> None:
    """Only a digest with a salt of the dataset's own: equal keys in two databases do not look equal."""
    check = AccountCheck(
        "acme", Account("acme.example", access=frozenset({"canary-key"})), lambda dataset: Evidence()
    )
    states: list[dict[str, Any]] = [{}, {}]
    for state in states:
        check.remember(state)
        before = repr(state)
        check.remember(state)
        assert (repr(state), "canary" in before) == (before, False)
    assert (check.is_known({}), check.is_known({ACCOUNTS: states[0][ACCOUNTS]})) == (False, False)
    other = AccountCheck("acme", Account("acme.example", access=frozenset({"new-key"})), lambda dataset: Evidence())
    assert (check.is_known(states[0]), other.is_known(states[0])) == (True, False)
    assert states[0][ACCOUNTS] == states[1][ACCOUNTS]
    assert states[0][KEYS] != states[1][KEYS]
    assert "canary" not in repr(check)


def test_another_host_asks_nobody() -> None:
    """No request is sent to a vendor of whom nothing is here."""

    def asked(dataset: object) -> Evidence:
        raise AssertionError("the vendor was asked")

    state = {ACCOUNTS: {"acme": Account("one.example").stored}}
    with pytest.raises(AnotherAccount, match=r"one\.example, and the settings name two\.example.* adopt"):
        AccountCheck("acme", Account("two.example"), asked).require(state, Stored(FIRST), "adopt")
