"""Drops or hashes columns with personal data before anything is written.

A policy is a text such as `table.column=drop, table.column=hash`. Dropped cells are null; hashed ones are HMAC-SHA256
(RFC 2104), 64 hex digits: equal values stay equal, and nobody without the key can test guesses. No vendor may enter.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa

from gapless.sources._schema.columns import Column, TableSchema

HASHED = re.compile('"?[0-9a-f]{64}"?')
DEAD_LETTER_TEXT = ("dead_letters", "raw_json")
"""This column holds whole records, so every policy that drops or hashes anything drops it, too."""


@dataclass(frozen=True)
class Privacy:
    """What is done to each (table, column): "drop", "hash" or "keep"; `key` is the HMAC key."""

    actions: dict[tuple[str, str], str] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, text: str | None, key: str | None, schemas: Collection[TableSchema], setting: str) -> Privacy:
        """Returns the policy in `text`; raises ValueError, naming the setting, for a rule that cannot be followed."""
        columns = {(s.name, c.name): c for s in schemas for c in s.columns}
        keys = {(s.name, key) for s in schemas for key in s.keys}
        actions: dict[tuple[str, str], str] = {}
        # A text over several lines, as TOML allows it, is a list without commas.
        for rule in (text or "").replace("\n", ",").split(","):
            if not rule.strip():
                continue
            where, _, action = (part.strip() for part in rule.partition("="))
            table, _, column = where.rpartition(".")
            found = columns.get((table, column))
            if found is None or action not in ("drop", "hash", "keep"):
                raise ValueError(
                    f"{setting}: {rule.strip()!r} is not table.column=drop, hash or keep of a known column"
                )
            if problem := _problem(action, found, is_key=(table, column) in keys, has_hash_key=bool(key)):
                raise ValueError(problem.format(setting=setting, where=where))
            actions[table, column] = action
        if any(action != "keep" for action in actions.values()):
            actions[DEAD_LETTER_TEXT] = "drop"
        return cls(actions, (key or "").encode())

    @property
    def mark(self) -> str:
        """Returns a mark that differs for each policy and key; neither can be read from it."""
        rules = sorted(f"{table}.{column}={action}" for (table, column), action in self.actions.items())
        return hmac.new(self.key, "\n".join(rules).encode(), "sha256").hexdigest()[:16]

    def apply(self, schema: TableSchema, rows: pa.Table, *, keep_hashes: bool = False) -> pa.Table:
        """Returns the `rows` of a table as the policy allows; `keep_hashes` leaves texts that are hashes already."""
        for index, column in enumerate(schema.columns):
            action = self.actions.get((schema.name, column.name), "keep")
            if action != "keep":
                values = self._hashed(rows.column(index), column.data_type, keep_hashes) if action == "hash" else None
                cells = pa.nulls(rows.num_rows, pa.string()) if values is None else pa.array(values, pa.string())
                # A column that is dropped keeps its type: the table is the same under every policy.
                type_ = rows.schema.field(index).type
                rows = rows.set_column(index, rows.schema.field(index), cells.cast(type_))
        return rows

    def hashed_text(self, text: str) -> str:
        """Returns what a column that is hashed holds instead of a text."""
        return hmac.new(self.key, text.encode(), "sha256").hexdigest()

    def _hashed(self, cells: pa.ChunkedArray, data_type: str, keep_hashes: bool) -> list[str | None]:
        # Each distinct text is hashed once: most columns repeat a few values.
        texts = cells.to_pylist()
        digests = {text: self.hashed_text(text) for text in set(texts) - {None}}
        if data_type == "json":
            digests = {text: json.dumps(value) for text, value in digests.items()}
        if keep_hashes:
            digests |= {text: text for text in digests if HASHED.fullmatch(text)}
        return [digests.get(text) for text in texts]


def _problem(action: str, column: Column, *, is_key: bool, has_hash_key: bool) -> str | None:
    """Returns why a rule cannot be followed, with {setting} and {where} still to be filled in."""
    if action == "drop" and not column.nullable:
        return "{setting}: {where} cannot be empty, so it cannot be dropped; hash it or keep it"
    if action == "hash" and (is_key or column.data_type not in ("text", "json")):
        return "{setting}: {where} cannot be hashed, because it is a key or not a text; drop it or keep it"
    if action == "hash" and not has_hash_key:
        return "{setting} hashes {where}, so GAPLESS_HASH_KEY must be set"
    return None


NOTHING_PRIVATE = Privacy()
