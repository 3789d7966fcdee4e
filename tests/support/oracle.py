"""The oracle: what a database must hold, worked out from vendors' own records and the table contract alone.

Nothing of `sources` may enter: names, nesting, times and JSON are worked out here a second time, so that a
misreading in the code meets a second opinion. `CONTRACT` is the contract of tables and columns, written out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

Row = dict[str, Any]
Truth = dict[str, list[Row]]

TEXT, NUMBER, REAL, TIME, JSON, FLAG = (
    "VARCHAR", "BIGINT", "DOUBLE", "TIMESTAMP WITH TIME ZONE", "JSON", "BOOLEAN",
)  # fmt: skip


def columns(**kinds: str) -> dict[str, str]:
    """Column -> type in DuckDB, from `TYPE="name name …"`."""
    known = {"text": TEXT, "number": NUMBER, "real": REAL, "time": TIME, "json": JSON, "flag": FLAG}
    return {name: known[kind] for kind, names in kinds.items() for name in names.split()}


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

CONTRACT: dict[str, dict[str, dict[str, str]]] = {
    "omni": {
        "action_logs": columns(
            text="id lead_id type status summary error parent_action_id tool__id tool__name tool__description",
            time="scheduled_at created_at completed_at", json="input output _extra",
        ),
        "action_logs__messages": columns(text="id channel direction subject body", json="_extra"),
        "action_logs__messages__documents": columns(text="id filename mime_type", number="size", json="_extra"),
        "leads": columns(
            text="lead_id first_name last_name email phone_number",
            time="created_at completed_at opted_out_at last_inbound_at last_outbound_at",
            number="total_messages inbound_messages outbound_messages",
            json="channels completion interventions checklist _extra",
        ),
    },
    "sequence": {
        "activity_logs": columns(
            text="id sequence_account_id activity_type api_version origin trace_id", time="created_at", json="_extra",
        ),
        "activity_logs__activity_log_items": columns(
            text="id activity_log_id verb name summary reason"
            " activity_log_actor__id activity_log_actor__entity_type activity_log_actor__entity_id"
            " activity_log_actor__email"
            " activity_log_object__id activity_log_object__entity_type activity_log_object__entity_id"
            " activity_log_target__id activity_log_target__entity_type activity_log_target__entity_id",
            json="metadata _extra",
        ),
    },
    "kizen": {
        "activities": columns(text="id name api_name association_mode", number="n_submissions", json="_extra"),
        "logged_activities": columns(
            text="id notes scheduled_activity_id"
            " activity_object__id activity_object__name activity_object__api_name activity_object__association_mode"
            " logged_by__id logged_by__display_name logged_by__email"
            " completed_by__id completed_by__display_name completed_by__email",
            time="logged_at completed_at", json="_extra",
        ),
        "logged_activities__fields": columns(
            text="id name display_name field_type custom_field_type", json="value _extra",
        ),
        "logged_activities__associated_entities": columns(
            text="object_api_name entity_id display_name name", json="_extra",
        ),
        "logged_activities__mentions": columns(text="value"),
    },
    "tines": {
        "actions": columns(
            number="id story_id team_id group_id user_id logs_count", text="type name description guid",
            flag="disabled", json="schedule sources receivers position _extra",
            time="created_at updated_at last_event_at last_error_log_at last_check_at last_receive_at",
        ),
        "action_logs": columns(
            number="id action_id story_id level", text="message", time="created_at", json="inbound_event _extra",
        ),
    },
}  # fmt: skip
STATUS_CHANGES = {"status_changes": columns(text="record_id status", time="seen_at")}
KEYS = {"leads": "lead_id"}
"""Primary keys that are not `id`."""
NEVER_KEPT = {("tines", "actions"): {"options"}}


def contract(source: str) -> dict[str, dict[str, str]]:
    """Every table of a source's dataset with its columns."""
    return CONTRACT[source] | EVERYWHERE | (STATUS_CHANGES if source == "omni" else {})


@dataclass
class Node:
    """A row with its child rows by table, in order."""

    cells: Row
    children: dict[str, list[Node]] = field(default_factory=dict)


def mismatches(db: duckdb.DuckDBPyConnection, source: str, truth: Truth) -> list[str]:
    """Everything in which the dataset differs from the vendor's records: none, and it is exact."""
    found: list[str] = []
    for table, records in truth.items():
        wanted = _by_key(table, [expected(source, table, record) for record in records], found)
        held = _by_key(table, _read(db, source, table, found), found)
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
    kept = {k: v for k, v in record.items() if k not in NEVER_KEPT.get((source, table), ())}
    node = Node(dict.fromkeys(CONTRACT[source][table]))
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
        known = CONTRACT[source][table]
        if column in known and column != "_extra":
            node.cells[column] = _cell(known[column], value)
        elif child in CONTRACT[source]:
            node.children[child] = [_item(source, child, item) for item in value or []]
        elif any(other.startswith(f"{column}__") for other in known):
            inner = _spread(source, table, value or {}, f"{column}__", node)
            extra |= {name: inner} if inner else {}
        else:
            extra[name] = value
    return extra


def _snake_case(source: str, name: str) -> str:
    """The column for a field; a field that the vendor would not spell like this has none (`?`)."""
    if source in ("omni", "sequence"):
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
    return json.dumps(value, sort_keys=True)


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
    kinds = CONTRACT[source][table]
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
    return [t for t in CONTRACT[source] if t.startswith(f"{table}__") and "__" not in t[len(table) + 2 :]]


# -- side by side ----------------------------------------------------------------------------------


def _by_key(table: str, nodes: list[Node], found: list[str]) -> dict[Any, Node]:
    key = KEYS.get(table, "id")
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
