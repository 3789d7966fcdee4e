"""What must not be kept in clear: columns that are dropped or hashed before anything is written.

A policy reads `table.column=drop, table.column=hash`. Dropped cells are null; hashed ones are HMAC-SHA256 under a key
(RFC 2104), as 64 hex digits, so that equal values stay equal and nobody without the key can try candidates.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from gapless.sources._schema.columns import TableShape

HASHED = re.compile('"?[0-9a-f]{64}"?')
DEAD_LETTER_TEXT = ("dead_letters", "raw_json")
"""Holds whole records, so any policy drops it."""


@dataclass(frozen=True)
class Privacy:
    actions: dict[tuple[str, str], str] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, text: str | None, key: str | None, shapes: Iterable[TableShape], setting: str) -> Privacy:
        """Raises ValueError, naming the setting, for anything that could not be done as it says."""
        columns = {(s.name, c.name): c for s in shapes for c in s.columns}
        actions: dict[tuple[str, str], str] = {}
        for rule in (text or "").replace("\n", ",").split(","):
            if not rule.strip():
                continue
            where, _, action = (part.strip() for part in rule.partition("="))
            table, _, column = where.rpartition(".")
            found = columns.get((table, column))
            if action not in ("drop", "hash", "keep") or found is None:
                raise ValueError(
                    f"{setting}: {rule.strip()!r} is not table.column=drop, hash or keep of a known column"
                )
            if action == "drop" and not found.nullable:
                raise ValueError(f"{setting}: {where} cannot be empty, so it cannot be dropped; hash it or keep it")
            if action == "hash" and (found.data_type not in ("text", "json") or _is_key(column)):
                raise ValueError(
                    f"{setting}: {where} cannot be hashed, only texts that are no key can; drop or keep it"
                )
            if action == "hash" and not key:
                raise ValueError(f"{setting} hashes {where}, so GAPLESS_HASH_KEY must be set")
            actions[table, column] = action
        if any(action != "keep" for action in actions.values()):
            actions[DEAD_LETTER_TEXT] = "drop"
        return cls(actions, (key or "").encode())

    def applied(self, shape: TableShape, rows: pa.Table, again: bool = False) -> pa.Table:
        """`rows` of the table as they may be written; `again`: hashes among them are left as they are."""
        for index, column in enumerate(shape.columns):
            action = self.actions.get((shape.name, column.name), "keep")
            if action != "keep":
                values = self._hashed(rows.column(index), column.data_type, again) if action == "hash" else None
                cells = pa.nulls(rows.num_rows, pa.string()) if values is None else pa.array(values, pa.string())
                type_ = rows.schema.field(index).type
                rows = rows.set_column(index, rows.schema.field(index), cells.cast(type_))
        return rows

    def _hashed(self, cells: pa.ChunkedArray, data_type: str, again: bool) -> list[str | None]:
        texts = cells.to_pylist()
        digests = {text: hmac.new(self.key, text.encode(), "sha256").hexdigest() for text in set(texts) - {None}}
        if data_type == "json":
            digests = {text: json.dumps(value) for text, value in digests.items()}
        if again:
            digests |= {text: text for text in digests if HASHED.fullmatch(text)}
        return [digests.get(text) for text in texts]


def _is_key(column: str) -> bool:
    return column == "id" or column in ("lead_id", "action_id", "story_id", "activity_object__id")


NOTHING_PRIVATE = Privacy()
