"""A letter whose record is not served any more is closed with the record's text, which is nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from gapless.sources._ledger.dead_letters import NOT_SERVED, OF_TWO, DeadLetters
from gapless.sources._ledger.ledger import DeadLetter
from gapless.sources._ledger.session import Session
from gapless.sources._schema.arrow import Batch

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def letter(key: str, **fields: Any) -> DeadLetter:
    facts = {"stream": "logs", "kind": "record", "parent": "p", "reason": "no number", "raw_json": "{}"} | fields
    return DeadLetter.model_validate({"key": key, "first_seen_at": NOW, "last_seen_at": NOW, **facts})


def letters(*stored: DeadLetter) -> DeadLetters:
    class Stored:
        def dead_letters(self, stream: str, kept: str | None = None) -> list[DeadLetter]:
            return [*stored]

    return DeadLetters("logs", cast("Any", Stored()), Session())


def rows(batch: Batch) -> dict[str, tuple[str, bool]]:
    """Reason, and whether it is closed, by key."""
    return {one.key: (one.reason, one.healed_at is not None) for one in cast("list[DeadLetter]", batch.records)}


def test_what_is_not_served_any_more_keeps_its_text() -> None:
    """Records and nameless ones do; another parent's record, and one that was never seen, have nothing to keep."""
    stored = [letter("a"), letter("b", kind="nameless"), letter("c", raw_json=None), letter("d", reason=OF_TWO + "q")]
    expected = {
        "a": (f"{NOT_SERVED}no number", True),
        "b": (f"{NOT_SERVED}no number", True),
        "c": ("no number", True),
        "d": (f"{OF_TWO}q", True),
    }
    assert rows(letters(*stored).resolve_rest("p")) == expected
    assert rows(letters(letter("a")).resolve_gone(["a", "unknown"])) == {"a": expected["a"]}


def test_what_is_kept_is_no_open_letter() -> None:
    """Nothing is read because of it, and it is not closed again."""
    kept = letters(letter("a", reason=f"{NOT_SERVED}no number", healed_at=NOW))
    assert (kept.records(), kept.parents(), rows(kept.resolve_rest("p"))) == ([], set(), {})


def test_a_record_that_is_served_again_is_a_letter_as_before() -> None:
    """Once it is loaded, nothing is left to keep; while it is bad still, it is an open letter, failing once more."""
    kept = letter("a", reason=f"{NOT_SERVED}no number", healed_at=NOW, attempts=2)
    assert rows(letters(kept).resolve("record", ["a"])) == {"a": ("no number", True)}
    again = letters(kept)._add("record", "a", "no number", "p", "{}")
    assert (again.healed_at, again.reason, again.attempts) == (None, "no number", 3)
