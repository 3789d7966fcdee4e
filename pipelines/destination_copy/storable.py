"""Finds the records that a destination cannot store."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from gapless.sources._dlt.tables import ROOT_ID, ROW_ID
from gapless.sources._schema.columns import TableSchema
from gapless.sources._schema.destination_limits import SUSPICIOUS, StorageCheck, no_limits

Tree = list[tuple[TableSchema, pa.Table]]
"""A root table and the tables below it, with their rows."""


def unstorable(tree: Tree, refuse: StorageCheck) -> dict[str, str]:
    """Returns the reasons for records that the destination cannot store whole, by the `_dlt_id` of the root row."""
    found: dict[str, str] = {}
    for shape, arrow in tree if refuse is not no_limits else []:
        owners = arrow.column(ROOT_ID if shape.parent else ROW_ID)
        for column in shape.columns:
            if column.data_type not in ("text", "json"):
                continue
            cells, is_json = arrow.column(column.name), column.data_type == "json"
            # In Arrow, column by column; the exact check in Python sees the few cells that are left.
            looks = pc.match_substring_regex(cells, SUSPICIOUS) if is_json else pc.match_substring(cells, "\0")
            suspects = pa.table([owners, cells], names=["owner", "cell"]).filter(looks)
            for suspect in suspects.to_pylist():
                raw = suspect["cell"] if is_json else json.dumps(suspect["cell"])
                if reason := refuse(raw.encode()):
                    found[suspect["owner"]] = reason
    return found
