"""Checks that a copy holds the account whose rows are in the file, so that a copy mixes no two."""

from __future__ import annotations

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.stored_state import OpenDataset, source_state
from gapless.sources import Source
from gapless.sources._dlt.tables import ROW_ID
from gapless.sources._dlt.types import State
from gapless.sources._ledger.account.evidence import Evidence, newest_rows, was_filled
from gapless.sources._ledger.account.identity import ACCOUNTS, KEYS, AnotherAccount
from gapless.sources._ledger.erasure.tombstones import ERASURES
from gapless.sources._ledger.ledger import RUNS
from gapless.sources._ledger.stored.cells import instant

COMPARED = 200
"""The newest rows of the copy that are looked up in the file."""


def require_same_account(file: Reader, copy: Reader, source: Source) -> None:
    """Raises AnotherAccount where file and copy are not of one account; where their states do not show it, ids do."""
    ours, theirs = (source_state(reader, source) or {} for reader in (file, copy))
    here, there = (state.get(ACCOUNTS, {}).get(source.name) for state in (ours, theirs))
    if here and there and here != there:
        which = f"{there['host']}, and the file those of {here['host']}"
        raise AnotherAccount(_refusal(source, which if here["host"] != there["host"] else "another account"))
    if here and there and ours.get(KEYS) and ours.get(KEYS) == theirs.get(KEYS):
        return
    one, other = OpenDataset(file, source), OpenDataset(copy, source)
    found = _compared(one, other, source)
    if there and not found.stored and was_filled(other) and not _have_one_past(one, other):
        raise AnotherAccount(_refusal(source, "another account, of which no row is left"))
    if not found.proven:
        raise AnotherAccount(_refusal(source, f"another account: {found}"))


def accounts_of(state: State) -> State:
    """Returns what a source's state remembers of its account."""
    return {key: state[key] for key in (ACCOUNTS, KEYS) if key in state}


def _refusal(source: Source, whose: str) -> str:
    return f"{source.name}: the copy holds the rows of {whose}. Give each account a destination of its own: --to NAME"


def _have_one_past(file: OpenDataset, copy: OpenDataset) -> bool:
    """Returns whether both know of one sync or one erasure: their ids are random."""
    for table, column in ((RUNS.name, "run_id"), (ERASURES, "erasure_id")):
        ours, theirs = (
            {key for (key,) in one.rows(f"select {column} from {{0}}", table) or ()} for one in (file, copy)
        )
        if any(not str(key).startswith("keep ") for key in ours & theirs):  # an erasure by settings has its day as id
            return True
    return False


def _compared(file: OpenDataset, copy: OpenDataset, source: Source) -> Evidence:
    """Returns what of the newest rows of the copy is in the file; of texts nothing, as privacy may differ."""
    found = Evidence()
    for table in (source.main, *(one for one in source.tables if one != source.main)):
        newest = newest_rows(copy, table, ROW_ID, limit=COMPARED)
        rows = [{ROW_ID: row_id, str(table.time_column): instant(at)} for row_id, at in newest]
        found.stored = found.stored or bool(rows)
        found.add(file, table, rows)
        if found.decided:
            break
    return found
