"""The oracle: what a database must hold, worked out from vendors' own records and the table contract alone.

Nothing of `sources` may enter: names, nesting, times and JSON are worked out here a second time, so that a
misreading in the code meets a second opinion. The contract of tables and columns is written out in each source's
subject.py; here is what all of them have.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb

from tests.contract.subject import JSON, TIME, columns, subject

Row = dict[str, Any]
Truth = dict[str, list[Row]]

EVERYWHERE = {
    "coverage": columns(
        text="stream parent digest error", time="covered_from covered_to last_checked_at",
        json="missing _extra", number="records failures",
    ),
    "dead_letters": columns(
        text="stream kind key parent reason raw_json", number="attempts", time="first_seen_at last_seen_at",
    ),
    "runs": columns(
        text="run_id outcome error version", time="started_at finished_at",
        number="rows packages requests retries failures", real="seconds_waited",
    ),
}  # fmt: skip


def contract(source: str) -> dict[str, dict[str, str]]:
    """Every table of a source's dataset with its columns."""
    return {**subject(source).tables, **EVERYWHERE, **subject(source).derived}


@dataclass
class Node:
    """A row with its child rows by table, in order."""

    cells: Row
    children: dict[str, list[Node]] = field(default_factory=dict)


def mismatches(db: duckdb.DuckDBPyConnection, source: str, truth: Truth) -> list[str]:
    """Everything in which the dataset differs from the vendor's records: none, and it is exact."""
    found: list[str] = []
    for table, records in truth.items():
        wanted = _by_key(source, table, [expected(source, table, record) for record in records], found)
        held = _by_key(source, table, _read(db, source, table, found), found)
        found += [f"{source}.{table} {key}: missing" for key in wanted if key not in held]
        found += [f"{source}.{table} {key}: not the vendor's" for key in held if key not in wanted]
        for key in wanted.keys() & held.keys():
            found += _differ(f"{source}.{table} {key}", wanted[key], held[key])
    return found


def assert_exact(db: duckdb.DuckDBPyConnection, source: str, truth: Truth) -> None:
    found = mismatches(db, source, truth)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:12])


# -- from the vendor's record ----------------------------------------------------------------------


def expected(source: str, table: str, record: Row) -> Node:
    """One record as the row it must become."""
    kept = {k: v for k, v in record.items() if k not in subject(source).never_kept.get(table, ())}
    node = Node(dict.fromkeys(subject(source).tables[table]))
    node.children = {child: [] for child in _children(source, table)}
    extra = _spread(source, table, kept, "", node)
    if extra:
        node.cells["_extra"] = _canonical(extra)
    return node


def _spread(source: str, table: str, values: Row, prefix: str, node: Node) -> Row:
    """Puts `values` into the row; returns what no column is meant for."""
    extra: Row = {}
    for name, value in values.items():
        column = prefix + _snake_case(source, name)
        child = f"{table}__{column}"
        known = subject(source).tables[table]
        if column in known and column != "_extra":
            node.cells[column] = _cell(known[column], value)
        elif child in subject(source).tables:
            node.children[child] = [_item(source, child, item) for item in value or []]
        elif any(other.startswith(f"{column}__") for other in known) or _below(source, child):
            inner = _spread(source, table, value or {}, f"{column}__", node)
            extra |= {name: inner} if inner else {}
        else:
            extra[name] = value
    return extra


def _snake_case(source: str, name: str) -> str:
    """The column for a field; a field that the vendor would not spell like this has none (`?`)."""
    if subject(source).camel:
        return re.sub(r"([A-Z])", r"_\1", name).lower() if re.fullmatch("[a-z]+([A-Z][a-z]+)*", name) else "?"
    return name


def _item(source: str, table: str, item: Any) -> Node:
    return expected(source, table, item if isinstance(item, dict) else {"value": item})


def _cell(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == JSON:
        return _canonical(value)
    return instant(value) if kind == TIME else value


def instant(value: str | float) -> int:
    """Microseconds since 1970 of what vendors write as a time."""
    if isinstance(value, int | float):
        at = datetime.fromtimestamp(value / (1000 if value > 2e10 else 1), UTC)
    else:
        text = re.sub(r"(\.\d{6})\d+", r"\1", value)
        at = datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _canonical(value: Any) -> str:
    """JSON with 1e+300 written out, as Postgres has it."""
    return re.sub(
        r"\d[\d.]*e\+\d{1,3}\b", lambda number: f"{Decimal(number[0]):f}", json.dumps(value, sort_keys=True)
    )


# -- from the database -----------------------------------------------------------------------------


def _read(db: duckdb.DuckDBPyConnection, source: str, table: str, found: list[str]) -> list[Node]:
    """The table's rows with all below them; what hangs in the air is noted in `found`."""
    by_id: dict[str, Node] = {}
    for _, _, node_id, node in _rows(db, source, table, child=False):
        if node_id in by_id:
            found.append(f"{source}.{table}: _dlt_id {node_id} twice ({node.cells})")
        by_id[node_id] = node
    _hang(db, source, table, by_id, found)
    return list(by_id.values())


def _hang(db: duckdb.DuckDBPyConnection, source: str, table: str, parents: dict[str, Node], found: list[str]) -> None:
    for child in _children(source, table):
        for parent in parents.values():
            parent.children[child] = []
        by_id: dict[str, Node] = {}
        for parent_id, index, node_id, node in _rows(db, source, child, child=True):
            if parent_id not in parents:
                found.append(f"{source}.{child}: orphan of {parent_id}: {node.cells}")
                continue
            siblings = parents[parent_id].children[child]
            if index != len(siblings) or node_id in by_id:
                found.append(f"{source}.{child}: row {index} of {parent_id} stands at {len(siblings)}: {node.cells}")
            siblings.append(node)
            by_id[node_id] = node
        _hang(db, source, child, by_id, found)


def _rows(
    db: duckdb.DuckDBPyConnection, source: str, table: str, *, child: bool
) -> Iterator[tuple[Any, Any, Any, Node]]:
    kinds = subject(source).tables[table]
    place = "_dlt_parent_id, _dlt_list_idx, _dlt_id" if child else "null, null, _dlt_id"
    wanted = ", ".join(_select(name, kind) for name, kind in kinds.items())
    order = "_dlt_parent_id, _dlt_list_idx" if child else "_dlt_id"
    for row in db.execute(f"select {place}, {wanted} from {source}.{table} order by {order}").fetchall():
        cells = dict(zip(kinds, row[3:], strict=True))
        json_cells = {n: _canonical(json.loads(cells[n])) for n in kinds if kinds[n] == JSON and cells[n] is not None}
        yield row[0], row[1], row[2], Node(cells | json_cells)


def _select(name: str, kind: str) -> str:
    if kind == TIME:
        return f'epoch_us("{name}")'
    return f'"{name}"::varchar' if kind == JSON else f'"{name}"'


def _children(source: str, table: str) -> list[str]:
    """Tables right below; one may stand in an object of the record."""
    below = _below(source, table)
    return [one for one in below if not any(one.startswith(f"{other}__") for other in below)]


def _below(source: str, table: str) -> list[str]:
    return [one for one in subject(source).tables if one.startswith(f"{table}__")]


# -- side by side ----------------------------------------------------------------------------------


def _by_key(source: str, table: str, nodes: list[Node], found: list[str]) -> dict[Any, Node]:
    key = subject(source).keys[table]
    counts = Counter(node.cells[key] for node in nodes)
    found += [f"{table} {value}: {count} times" for value, count in counts.items() if count > 1]
    return {node.cells[key]: node for node in nodes}


def _differ(where: str, wanted: Node, held: Node) -> Iterator[str]:
    for name, value in wanted.cells.items():
        same = held.cells[name] == value and type(held.cells[name]) is type(value)
        if not same:
            yield f"{where} {name}: {held.cells[name]!r} instead of {value!r}"
    for child, items in wanted.children.items():
        rows = held.children[child]
        if len(rows) != len(items):
            yield f"{where} {child}: {len(rows)} rows instead of {len(items)}"
            continue
        for index, (item, row) in enumerate(zip(items, rows, strict=True)):
            yield from _differ(f"{where} {child}[{index}]", item, row)
