"""Takes ids out of what syncs have left of them beside the rows: stored states of dlt, errors and reports of runs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gapless.sources._dlt.internals import pipeline_state, state_text
from gapless.sources._dlt.tables import STATES

if TYPE_CHECKING:
    from gapless.pipelines.erasure.tables import Tables

GONE = "erased"
"""Stands where an id stood in a text."""
SHORTEST = 4
"""Characters; a shorter id stands in many texts by chance."""


def remove_from_states(tables: Tables, ids: Collection[str]) -> None:
    """Takes ids out of every stored state of the dataset: of walks, of backfills, of what a user's step left out."""
    if not tables.has(STATES, "state", "version_hash"):
        return
    for text, load in tables.query(f"select state, _dlt_load_id from {tables.name(STATES)}"):
        before = pipeline_state(str(text))
        after = without_ids(before, ids)
        if after != before:
            change = f"update {tables.name(STATES)} set state = %s where _dlt_load_id = %s and state = %s"
            tables.run(change, state_text(after), load, text)


def without_ids(value: Any, ids: Collection[str]) -> Any:
    """Returns a JSON value without these ids: entries of lists and keys go, another text becomes empty.

    A key of a backfill may be the ids of a parent and of a record.
    """

    def is_id(text: object) -> bool:
        return isinstance(text, str) and any(part in ids for part in (text, *text.split(" ", 1)))

    if isinstance(value, dict):
        return {key: without_ids(one, ids) for key, one in value.items() if not is_id(key)}
    if isinstance(value, list):
        return [without_ids(one, ids) for one in value if not is_id(one)]
    return "" if is_id(value) else value


def remove_from_runs(tables: Tables, ids: Collection[str]) -> None:
    """Takes ids out of what ended a sync, and of what was sent to the webhook about it."""
    columns = [name for name in ("error", "told") if tables.has("runs", "run_id", name)]
    long = sorted((one for one in ids if len(one) >= SHORTEST), key=len, reverse=True)
    # Not within a longer word or number, such as a time.
    named_nowhere = re.compile(rf"(?<![\w.:+-])(?:{'|'.join(map(re.escape, long))})(?![\w:+-])(?!\.\d)")
    for column in columns if long else ():
        named = tables.column(column)
        found = f"select run_id, {named} from {tables.name('runs')} where {named} is not null"
        for run, cell in tables.query(found):
            text = cell if isinstance(cell, str) else json.dumps(cell)
            after = named_nowhere.sub(GONE, text)
            if after != text:
                tables.run(f"update {tables.name('runs')} set {named} = %s where run_id = %s", after, run)
