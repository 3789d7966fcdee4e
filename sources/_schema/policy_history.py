"""Notes in a source's state under which privacy policies its rows were written, and from which load on.

Rules are no secret; of a hash key there is a mark alone. No table and no vendor may enter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gapless.sources._schema.privacy import Privacy

POLICIES = "privacy"
"""The key in a source's state that holds the marks of the privacy policies under which its rows were written."""
HISTORY = "privacy_history"
"""The key of the same policies with their rules, each with the load from which on it held."""
State = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """The policy under which a load wrote its rows: its rules, as `Privacy.rules` has them, and its key's mark."""

    rules: frozenset[str] | None = None
    """None: unknown, as an older version did not note it."""
    key: str = ""


def note_policy(state: State, policy: Privacy, load_id: str) -> None:
    """Notes that rows are written under `policy` from this load on."""
    marks, history = state.setdefault(POLICIES, []), state.setdefault(HISTORY, [])
    if is_same(policy, state) and policy.mark not in marks:
        marks[:] = [policy.mark]
        history[-1] = _entry(policy, history[-1]["since"])
    marks += [policy.mark] if policy.mark not in marks else []
    if not history or history[-1]["mark"] != policy.mark:
        history.append(_entry(policy, load_id))


def is_same(policy: Privacy, state: State) -> bool:
    """Returns whether all rows are written under this policy.

    An earlier version took a key into the mark of a policy that hashes nothing; the rules show that it is the same.
    """
    marks, history = state.get(POLICIES, []), state.get(HISTORY, [])
    if len(marks) != 1:
        return False
    noted = history[-1] if history else {"mark": "", "rules": None}
    unkeyed = not policy.key and noted["mark"] == marks[0] and noted["rules"] == policy.rules
    return bool(marks == [policy.mark] or unkeyed)


def note_applied(state: State, policy: Privacy) -> None:
    """Notes that all rows that are here are as `policy` has them."""
    state[POLICIES], state[HISTORY] = [policy.mark], [_entry(policy, "0")]


def forget_policies(state: State) -> None:
    """Forgets the policies, as no row that was written under them will be left."""
    state.pop(POLICIES, None)
    state.pop(HISTORY, None)


def note_copied(state: State, policy: Privacy, file: State, at: float) -> None:
    """Notes in the state of a copy that its rows are as the file's policies left them, and as `policy` has them.

    What an earlier policy of the file dropped or hashed did not come back with the copy, which ended `at`.
    """
    if HISTORY not in state and any(weakened(policy, file.get(HISTORY, []))):
        state[POLICIES], state[HISTORY] = [*file[POLICIES]], [*file[HISTORY]]
    note_policy(state, policy, str(at))


def written_under(history: Sequence[State], load_id: str) -> Written:
    """Returns the policy under which a load wrote its rows."""
    # Load ids are times.
    entries = [one for one in history if float(one["since"]) <= float(load_id)]
    return Written(frozenset(entries[-1]["rules"]), entries[-1]["key"]) if entries else Written()


def weakened(policy: Privacy, history: Sequence[State]) -> Iterator[tuple[str, str, str | None]]:
    """Yields what earlier policies dropped or hashed and `policy` wants as the vendor sends it.

    That is table and column, as one text, and the loads from which and before which (None: no end) rows are so.
    """
    ends = [*(entry["since"] for entry in history[1:]), None]
    for entry, end in zip(history, ends, strict=False):  # without a history there is one end too many
        for rule in entry["rules"]:
            where, _, action = rule.rpartition("=")
            column = where.partition(".[")[0]
            same = rule in policy.rules and (action != "hash" or entry["key"] == policy.key_mark)
            if action != "keep" and not same and f"{column}=drop" not in policy.rules:
                yield column, entry["since"], end


def _entry(policy: Privacy, load_id: str) -> State:
    return {"since": load_id, "mark": policy.mark, "rules": policy.rules, "key": policy.key_mark}
