"""Under which policy a load wrote its rows, and what an earlier policy left that today's cannot take back."""

from __future__ import annotations

from typing import Any

from gapless.sources._schema.columns import Column, TableSchema
from gapless.sources._schema.policy_history import (
    HISTORY,
    POLICIES,
    Written,
    is_same,
    note_applied,
    note_policy,
    weakened,
    written_under,
)
from gapless.sources._schema.privacy import NOTHING_PRIVATE, Privacy

KEY, OTHER = b"a key of 16 characters", b"another key of 16 characters"
HASH, DROP = Privacy({("t", "c"): "hash"}, KEY), Privacy({("t", "c"): "drop"})


def columns(policy: Privacy, history: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [*weakened(policy, history)]


def test_each_load_has_its_policy() -> None:
    """From the load on in which it was first met; what an older version wrote is unknown."""
    state: dict[str, Any] = {}
    for load, policy in (("2.5", HASH), ("3.5", HASH), ("10.5", DROP)):
        note_policy(state, policy, load)
    found = [written_under(state[HISTORY], load) for load in ("1.5", "2.5", "9.5", "10.5")]
    assert found == [
        Written(),
        *[Written(frozenset({"t.c=hash"}), HASH.key_mark)] * 2,
        Written(frozenset({"t.c=drop"})),
    ]
    assert state[POLICIES] == [HASH.mark, DROP.mark]
    note_applied(state, DROP)
    assert (state[POLICIES], written_under(state[HISTORY], "1.5").rules) == ([DROP.mark], frozenset({"t.c=drop"}))


def test_what_cannot_be_taken_back() -> None:
    """A rule that went, another key, a hash of what was dropped; not a stricter rule, nor an older version's rows."""
    state: dict[str, Any] = {}
    note_policy(state, HASH, "2.5")
    assert columns(HASH, state[HISTORY]) == columns(DROP, state[HISTORY]) == columns(HASH, []) == []
    for other in (NOTHING_PRIVATE, Privacy(HASH.actions, OTHER)):
        assert columns(other, state[HISTORY]) == [("t.c", "2.5", None)]
    note_policy(state, DROP, "4.5")
    assert columns(HASH, state[HISTORY]) == [("t.c", "4.5", None)]


def test_a_key_that_no_rule_hashes_with_changes_no_policy() -> None:
    """Another source may need it: the mark is the same with it and without, and that of an older version counts."""
    schema = TableSchema("t", None, (Column("c", "text", nullable=True, path=("c",)),), (), lambda _: None)
    marks = {Privacy.parse("t.c=drop", key, [schema], "S").mark for key in (None, KEY.decode(), OTHER.decode())}
    hashed = {Privacy.parse("t.c=hash", key, [schema], "S").mark for key in (KEY.decode(), OTHER.decode())}
    assert (len(marks), len(hashed)) == (1, 2)
    keyed = Privacy({("t", "c"): "drop"}, KEY)  # as an older version noted it
    state: dict[str, Any] = {}
    note_policy(state, keyed, "2.5")
    assert (is_same(DROP, state), is_same(HASH, state)) == (True, False)
    note_policy(state, DROP, "3.5")
    assert (state[POLICIES], len(state[HISTORY]), state[HISTORY][0]["since"]) == ([DROP.mark], 1, "2.5")
    note_policy(state, HASH, "4.5")
    assert not is_same(HASH, state)
