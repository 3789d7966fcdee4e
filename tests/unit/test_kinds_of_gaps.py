"""Gaps that tests with a usual amount of data never show: of many parents, of those that left, of rounds in doubt."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gapless.pipelines.evidence.kinds import parents
from gapless.pipelines.evidence.kinds.ledger import Ledger
from gapless.pipelines.evidence.kinds.unasked import rounds, stale
from gapless.pipelines.evidence.kinds.unfinished import letters
from gapless.pipelines.evidence.proofs import Proof, low_watermark
from gapless.pipelines.evidence.rounds import Round
from gapless.pipelines.sync import unchanged
from gapless.sources._ledger.markers import GONE
from gapless.sources._ledger.session import Unchanged
from gapless.sources._ledger.shard import WHOLE

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ledger(*proofs: Proof, here: dict[str, int] | None = None, filtered: str = "", **more: Any) -> Ledger:
    """Returns a ledger with these proofs of a stream read by parent, of which so many records are `here`."""

    def rows(dataset: str, select: str, *tables: str) -> list[tuple[Any, ...]]:
        return [(one, count) for one, count in (here or {}).items() if f"'{one}'" in select]

    known = {"coverage": {"filtered"} if filtered else set()}
    reader = SimpleNamespace(appends=False, rows=rows, columns=lambda *_: known)
    commands = SimpleNamespace(repair="repair", sync=lambda *_, **__: "sync", retry=lambda *_: "retry")
    given = {
        "proofs": {one.parent: one for one in proofs},
        "open": [one for one in proofs if one.failures],
        "listed": [one.parent for one in proofs],
        "main": SimpleNamespace(name="records"),
        "stream": SimpleNamespace(column="parent", parents=True, walks=False),
        "source": SimpleNamespace(name="one", facts=SimpleNamespace(keeps=timedelta(days=7))),
        "rows": lambda select, *tables: [(filtered,)] if filtered and "filtered" in select else [],
        "gap": lambda kind, why, fill, parent="", **_: (kind, parent, why),
        "reader": reader, "commands": commands, "now": NOW, "counts": {}, "rounds": [], "letters": [],
    }  # fmt: skip
    return cast(Ledger, SimpleNamespace(**{**given, **more}))


def proof(parent: str, checked: datetime = NOW, **more: Any) -> Proof:
    return Proof("records", parent, None, checked, checked, [], None, 0)._replace(**more)


@pytest.fixture
def erased(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many records were erased, by parent."""
    found: dict[str, int] = {}
    monkeypatch.setattr(parents, "erased_here", lambda *_: SimpleNamespace(count=lambda parent: found.get(parent, 0)))
    return found


def test_the_records_of_many_parents_are_counted(erased: dict[str, int]) -> None:
    """More than one statement counts: of all that have fewer than was told, the last one, too."""
    many = 2 * parents.TOGETHER + 1
    told = [proof(str(number), records=2) for number in range(many)]
    here = {str(number): 2 for number in range(many - 1)} | {str(many - 1): 1}
    doubtful = [one.parent for one in told]
    assert [gap[:2] for gap in parents.fewer(ledger(*told, here=here), doubtful)] == [("lost", str(many - 1))]


def test_what_was_erased_on_purpose_is_not_lost(erased: dict[str, int]) -> None:
    """As many as were erased may be missing, and not one more."""
    erased["a"] = erased["b"] = 1
    told, here = [proof("a", records=3), proof("b", records=3)], {"a": 2, "b": 1}
    assert [gap[:2] for gap in parents.fewer(ledger(*told, here=here), ["a", "b"])] == [("lost", "b")]


def test_what_a_step_of_the_user_left_out_is_not_lost(erased: dict[str, int]) -> None:
    told, here = [proof("a", records=3), proof("b", records=3)], {"a": 2, "b": 2}
    found = parents.fewer(ledger(*told, here=here, filtered="a"), ["a", "b"])
    assert [gap[:2] for gap in found] == [("lost", "b")]


def test_a_parent_that_left_grows_not_stale() -> None:
    """Nobody asks for it any more, and nothing of it is forgotten; of one that is listed it is."""
    old, gone = NOW - timedelta(days=8), {"error": f"{GONE}, since then", "failures": 0}
    assert [*stale(ledger(proof("a"), proof("b", old, **gone)))] == []
    ((kind, _, why),) = stale(ledger(proof("a"), proof("b", old)))
    assert (kind, why.startswith("1 of 2 were not asked")) == ("stale", True)


def test_the_vendors_limit_is_said_before_the_users() -> None:
    """What is lost matters more than what is late."""
    ((_, _, why),) = stale(ledger(proof("a", NOW - timedelta(days=8))), HOUR)
    assert "lost" in why
    ((_, _, why),) = stale(ledger(proof("a", NOW - 2 * HOUR)), HOUR)
    assert "lost" not in why


def failed(began: datetime, ended: datetime) -> Round:
    return Round("1", "failed", WHOLE, began, ended, "503")


def test_a_round_that_failed_after_it_had_asked_for_all() -> None:
    """It left nobody unasked; one parent that it did not reach makes it a gap."""
    last = [failed(NOW - HOUR, NOW)]
    asked = [proof("a", NOW - HOUR / 2), proof("b", NOW - HOUR / 3)]
    assert [*rounds(ledger(*asked, rounds=last))] == []
    assert [gap[0] for gap in rounds(ledger(asked[0], proof("b", NOW - 2 * HOUR), rounds=last))] == ["not asked"]
    # Asked for after it, by its id: that is no part of the round.
    assert [gap[0] for gap in rounds(ledger(asked[0], proof("b", NOW + HOUR), rounds=last))] == ["not asked"]


def test_a_parent_that_fails_is_told_once() -> None:
    """By its proof, not by its letter as well; without a proof by the letter."""
    letter = [("records", "parent", "a", None, "500", 2, NOW)]
    assert [*letters(ledger(proof("a", failures=2, error="500"), letters=letter))] == []
    assert [gap[:2] for gap in letters(ledger(letters=letter))] == [("failing", "a")]


def test_the_low_watermark_is_of_those_that_are_listed() -> None:
    """A parent that left holds nothing back; one whose load broke off proves nothing."""
    gone = proof("b", NOW - 9 * HOUR, error=GONE)
    assert low_watermark([proof("a"), gone]) == NOW
    assert low_watermark([proof("a"), proof("b", NOW - HOUR)]) == NOW - HOUR
    assert low_watermark([proof("a"), proof("b", broke_off=NOW)]) is None


def test_many_parents_of_which_nothing_changed_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one statement: each parent stands in exactly one."""
    noted: list[str] = []
    client = SimpleNamespace(
        make_qualified_table_name=str,
        escape_column_name=str,
        execute_sql=lambda sql, *values: noted.extend(values[2:]),
        begin_transaction=nullcontext,
    )
    many = tuple(str(number) for number in range(unchanged.IN_LIST + 2))
    unchanged._update(cast(Any, client), Unchanged("records", many, (("last_checked_at", cast(Any, NOW)),)))
    assert tuple(noted) == many
