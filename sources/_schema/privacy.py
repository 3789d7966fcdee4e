"""Drops or hashes columns with personal data, or parts of JSON columns, before anything is written.

A policy is a text such as `table.column=drop, table.column=hash, table.json.$.user.email=hash`. Dropped cells are
null; hashed ones are HMAC-SHA256 (RFC 2104), 64 hex digits: equal values stay equal, and nobody without the key can
test guesses. Under a policy unknown fields (`_extra`) are dropped unless a rule keeps them. No vendor may enter.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from gapless.sources._schema.columns import Column, TableSchema
from gapless.sources._schema.private_json import HASHED, Path, hash_whole, parsed_path, without_private

DEAD_LETTER_TEXT = ("dead_letters", "raw_json")
"""This column holds whole records, so every policy that drops or hashes anything drops it, too."""
UNKNOWN = "_extra"
"""The column with unknown fields, in which a vendor may send anything from tomorrow on."""
SHORTEST_KEY = 16
"""Characters of a hash key: a shorter one can be found by trying, and with it the values that were hashed."""
Where = tuple[str, str]
"""Table and column."""


@dataclass(frozen=True)
class Privacy:
    """What is done to each (table, column): "drop", "hash" or "keep"; `key` is the HMAC key."""

    actions: dict[Where, str] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)
    paths: dict[Where, dict[Path, str]] = field(default_factory=dict)
    """Of JSON columns that stay: what is done to the values that paths lead to, "drop" or "hash"."""

    @classmethod
    def parse(cls, text: str | None, key: str | None, schemas: Collection[TableSchema], setting: str) -> Privacy:
        """Returns the policy in `text`; raises ValueError, naming the setting, for a rule that cannot be followed."""
        columns = {(s.name, c.name): c for s in schemas for c in s.columns}
        keys = {(s.name, key) for s in schemas for key in s.keys}
        actions: dict[Where, str] = {}
        paths: dict[Where, dict[Path, str]] = {}
        for rule, place, path, action in _rules(text, setting):
            found = columns.get(place)
            if found is None or action not in ("drop", "hash", "keep"):
                raise ValueError(f"{setting}: {rule!r} is not table.column=drop, hash or keep of a known column")
            if problem := _problem(action, found, path, is_key=place in keys) or _key_problem(action, key):
                raise ValueError(problem.format(setting=setting, where=".".join(place)))
            before = paths.get(place, {}).get(path) if path else actions.get(place)
            if before not in (None, action):
                raise ValueError(
                    f"{setting}: two rules for one place, {before} and {action}: leave one out ({rule!r})"
                )
            if path:
                paths.setdefault(place, {})[path] = action
            else:
                actions[place] = action
        if paths or any(action != "keep" for action in actions.values()):
            actions = {**{place: "drop" for place in columns if place[1] == UNKNOWN}, **actions}
            actions[DEAD_LETTER_TEXT] = "drop"
        whole, inside = actions.values(), (do for some in paths.values() for do in some.values())
        # A key that no rule hashes with is no part of the policy: another source may need it.
        hashes = "hash" in (*whole, *inside)
        return cls(actions, (key or "").encode() if hashes else b"", paths)

    @property
    def active(self) -> bool:
        """Returns whether anything is dropped or hashed."""
        return bool(self.paths) or any(action != "keep" for action in self.actions.values())

    @property
    def rules(self) -> list[str]:
        """Returns the rules as texts, in alphabetical order."""
        inside = {(*place, path): action for place, paths in self.paths.items() for path, action in paths.items()}
        texts = [f"{table}.{column}={action}" for (table, column), action in self.actions.items()]
        return sorted(texts + [f"{table}.{column}.{list(path)}={do}" for (table, column, path), do in inside.items()])

    @property
    def mark(self) -> str:
        """Returns a mark that differs for each policy and key; neither can be read from it."""
        return self.hashed_text("\n".join(self.rules))[:16]

    @property
    def key_mark(self) -> str:
        """Returns a mark that differs for each key, which cannot be read from it; empty without a key."""
        return self.hashed_text("the key of hashes")[:16] if self.key else ""

    def of_column(self, place: Where) -> tuple[str, Mapping[Path, str]]:
        """Returns what is done to a column ("keep", "drop", "hash"), and to values inside of one that is kept."""
        action = self.actions.get(place, "keep")
        return action, self.paths.get(place, {}) if action == "keep" else {}

    def columns(self, schema: TableSchema) -> list[Column]:
        """Returns the columns of a table of which anything is dropped or hashed."""
        return [one for one in schema.columns if self.of_column((schema.name, one.name)) != ("keep", {})]

    def apply(self, schema: TableSchema, rows: pa.Table, *, keep_hashes: bool = False) -> pa.Table:
        """Returns the `rows` of a table as the policy allows; `keep_hashes` leaves texts that are hashes already."""
        for column in self.columns(schema):
            index = schema.columns.index(column)
            cells = pa.nulls(rows.num_rows, pa.string())
            if self.of_column((schema.name, column.name))[0] != "drop":
                texts = rows.column(index).to_pylist()
                # Each distinct text is changed once: most columns repeat a few values.
                changed = {one: self.cell(schema.name, column, one, keep_hashes=keep_hashes) for one in set(texts)}
                cells = pa.array([changed[one] for one in texts], pa.string())
            # A column that is dropped keeps its type: the table is the same under every policy.
            type_ = rows.schema.field(index).type
            rows = rows.set_column(index, rows.schema.field(index), cells.cast(type_))
        return rows

    def cell(self, table: str, column: Column, value: str | None, *, keep_hashes: bool = False) -> str | None:
        """Returns a text or JSON cell as the policy allows; a value that is dropped may be of any type."""
        action, paths = self.of_column((table, column.name))
        if value is None or action == "drop":
            return None
        if action == "keep":
            return without_private(value, [*paths.items()], self._keeping if keep_hashes else self.hashed_text)
        if keep_hashes and HASHED.fullmatch(value):
            return value
        return hash_whole(value, self.hashed_text) if column.data_type == "json" else self.hashed_text(value)

    def hashed_text(self, text: str) -> str:
        """Returns what a column that is hashed holds instead of a text."""
        return hmac.new(self.key, text.encode(), "sha256").hexdigest()

    def _keeping(self, text: str) -> str:
        return text if HASHED.fullmatch(text) else self.hashed_text(text)


def _rules(text: str | None, setting: str) -> Iterator[tuple[str, Where, Path, str]]:
    """Yields each rule: its text, table and column, the path into the column's JSON (empty: none), the action."""
    # A text over several lines, as TOML allows it, is a list without commas.
    for rule in filter(None, map(str.strip, (text or "").replace("\n", ",").split(","))):
        where, _, action = (part.strip() for part in rule.rpartition("="))
        where, inside, steps = where.partition(".$")
        path = parsed_path(steps) if inside else ()
        if path is None:
            raise ValueError(f"{setting}: {rule!r} has no path into JSON such as $.user.email or $.items[*].email")
        table, _, column = where.rpartition(".")
        yield rule, (table, column), path, action


def _problem(action: str, column: Column, path: Path, *, is_key: bool) -> str | None:
    """Returns why a rule cannot be followed, with {setting} and {where} still to be filled in."""
    if path and column.data_type != "json":
        return "{setting}: {where} is no JSON, so there is no path into it; name the column alone"
    if path and action == "keep":
        return "{setting}: {where}: a path into JSON can be dropped or hashed; what no rule names is kept anyway"
    if action == "drop" and not path and not column.nullable:
        return "{setting}: {where} cannot be empty, so it cannot be dropped; hash it or keep it"
    if action == "hash" and (is_key or column.data_type not in ("text", "json")):
        return "{setting}: {where} cannot be hashed, because it is a key or not a text; drop it or keep it"
    return None


def _key_problem(action: str, key: str | None) -> str | None:
    """Returns why a rule cannot be followed with this hash key, as `_problem` does."""
    if action == "hash" and not key:
        return "{setting} hashes {where}, so GAPLESS_HASH_KEY must be set"
    if action == "hash" and len((key or "").strip()) < SHORTEST_KEY:
        # Not how long it is: that is more than anybody should learn of it.
        few = f"GAPLESS_HASH_KEY has fewer than {SHORTEST_KEY} characters"
        return f"{few}, so that hashes can be guessed; {{setting}} hashes {{where}} with it"
    return None


NOTHING_PRIVATE = Privacy()
