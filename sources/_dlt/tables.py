"""dlt's own tables and columns in a destination, by name, and the SQL that asks them. Nothing else may name them.

dlt documents them (Destination tables and lineage), but not that they stay as they are: test_dlt_canaries.py in
tests/unit compares a real load with every name here.
"""

from __future__ import annotations

LOADS = "_dlt_loads"
"""One row per load package, written when it is completed."""
LOADS_COLUMNS = {"load_id": "text", "status": "bigint"}
"""The columns of LOADS that are used, with dlt's type of each."""
STATES = "_dlt_pipeline_state"
"""One row per state of a pipeline that a load changed; the newest one is restored."""
SCHEMAS = "_dlt_version"
"""One row per version of a dataset's schema."""
SCHEMA_TEXT = '"schema"'
"""The column of SCHEMAS with the schema itself; the name is a word of SQL's."""
PREFIX = "_dlt"
"""What the names of dlt's tables and columns begin with."""

DESCRIPTIONS = {
    LOADS: {
        "": "One row per load package of dlt's, written when it is completed.",
        "load_id": "Id of the load, which the rows that it wrote have in `_dlt_load_id`.",
        "schema_name": "Name of dlt's schema whose tables it wrote.",
        "status": "0: completed.",
        "inserted_at": "When it was completed.",
        "schema_version_hash": "Digest of that schema, as in `_dlt_version`.",
    },
    STATES: {
        "": "One row per state of a pipeline of dlt's that a load changed; the next sync restores the newest one.",
        "version": "Number of the state, which grows by one with each change.",
        "engine_version": "Version of the state's layout, by dlt.",
        "pipeline_name": "Name of the pipeline.",
        "state": "The state: JSON, compressed and in base64.",
        "created_at": "When it was written.",
        "version_hash": "Digest of the state.",
    },
    SCHEMAS: {
        "": "One row per version of a schema of dlt's, which names the tables and columns that were made here.",
        "version": "Number of the schema, which grows by one with each change.",
        "engine_version": "Version of the schema's layout, by dlt.",
        "inserted_at": "When it was written.",
        "schema_name": "Name of the schema.",
        "version_hash": "Digest of the schema.",
        "schema": "The schema: JSON, compressed and in base64 where it is long.",
    },
}
"""What dlt's own tables (the empty name) and their columns hold, by table."""

ROW_ID, LOAD_ID = "_dlt_id", "_dlt_load_id"
PARENT_ID, ROOT_ID, LIST_INDEX = "_dlt_parent_id", "_dlt_root_id", "_dlt_list_idx"


def root_table(table: str) -> str:
    """Returns the root table of a table: a nested one is named after its parent and the field, as `logs__items`."""
    return table.partition("__")[0]


def completed_loads(loads: str) -> str:
    """Returns a query of one column: the ids of completed loads. `loads` is the table's qualified name."""
    # 0 is what dlt documents as completed.
    return f"select load_id from {loads} where status = 0"


def is_completed(loads: str) -> str:
    """Returns an SQL condition on a row of one of our tables: the load that wrote it was completed."""
    return f"{LOAD_ID} in ({completed_loads(loads)})"


def newest_state(states: str, loads: str, pipeline: str) -> str:
    """Returns a query of one row and column: the state that `pipeline` will restore next, as dlt's text."""
    return (
        f"select s.state from {states} as s join {loads} as l on s.{LOAD_ID} = l.load_id where l.status = 0"
        f" and s.pipeline_name = '{pipeline}' order by l.load_id desc limit 1"
    )


def newest_state_load(states: str, loads: str, pipeline: str) -> str:
    """Returns a query of one row: the load of the state that `pipeline` will restore next, and its text."""
    return newest_state(states, loads, pipeline).replace("select s.state", f"select s.{LOAD_ID}, s.state", 1)


def newest_states(states: str, loads: str) -> str:
    """Returns a query of one column: the newest state of each pipeline, as dlt's text."""
    newest = (
        f"select max(s.{LOAD_ID}) from {states} as s join {loads} as l on s.{LOAD_ID} = l.load_id where l.status = 0"
        " group by s.pipeline_name"
    )
    return f"select state from {states} where {LOAD_ID} in ({newest})"


def newest_schemas(schemas: str) -> str:
    """Returns a query of the newest schema of each name, as dlt's text, with its name before it."""
    newest = f"select max(inserted_at) from {schemas} group by schema_name"
    return f"select schema_name, {SCHEMA_TEXT} from {schemas} where inserted_at in ({newest})"


def newest_schema(schemas: str, name: str) -> str:
    """Returns a query of one column, newest first: the schema called `name` as it was stored, as dlt's text."""
    return f"select {SCHEMA_TEXT} from {schemas} where schema_name = '{name}' order by inserted_at desc"


def other_schemas(schemas: str, name: str) -> str:
    """Returns a query of one column: the names of schemas that were stored, if the schema called `name` never was."""
    return (
        f"select schema_name from {schemas} where not exists (select 1 from {schemas} where schema_name = '{name}')"
    )


def forget_schemas(schemas: str) -> str:
    """Returns a statement after which dlt compares a dataset's tables with its schema, and makes missing ones.

    Why: while the newest schema is stored, dlt takes it for granted that the tables are there. Replaced by: a
    documented refresh that creates missing tables and drops none.
    """
    # Some engines, BigQuery for one, refuse a `delete` without a condition.
    return f"delete from {schemas} where 1 = 1"
