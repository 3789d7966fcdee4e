"""Obstacles in a Postgres database, as pg_catalog shows them (version 12 or later)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gapless.pipelines.destinations._catalogs.obstacle import (
    Asked,
    Dataset,
    Engine,
    Found,
    Obstacle,
    is_key,
    quoted,
    wrong_columns,
)

OURS = """
    select c.oid, c.relname, c.relkind, c.relreplident, c.relowner, n.nspname from pg_class c join pg_namespace n
    on n.oid = c.relnamespace where n.nspname = '{0}' and c.relname in ({1})
    and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
KINDS = {"v": "is a view", "m": "is a materialized view", "f": "is a foreign table"}
DROP = {"v": "view", "m": "materialized view", "f": "foreign table"}
PARTS = """
    select 'kind', relname, relkind::text, '', '' from ours where relkind not in ('r', 'p')
    union all select 'partition', relname, '', '', '' from ours join pg_partitioned_table on partrelid = ours.oid
    where partstrat <> 'h' and partdefid = 0
    union all select case when k.oid is null then 'index' else 'constraint' end, o.relname, x.relname,
    (select coalesce(string_agg(a.attname, ','), '') from pg_attribute a
    where a.attrelid = o.oid and a.attnum = any(i.indkey::int2[])), ''
    from ours o join pg_index i on i.indrelid = o.oid and (i.indisunique or i.indisexclusion)
    join pg_class x on x.oid = i.indexrelid left join pg_constraint k on k.conindid = x.oid and k.conrelid = o.oid
    union all select case contype when 'c' then 'check' else 'reference' end, relname, conname, '', ''
    from ours join pg_constraint on conrelid = ours.oid where contype in ('c', 'f')
    union all select 'referenced', o.relname, conname, conrelid::regclass::text, ''
    from ours o join pg_constraint on confrelid = o.oid where contype = 'f' and conparentid = 0
    and conrelid not in (select oid from ours)
    union all select 'trigger', relname, tgname, '', '' from ours join pg_trigger on tgrelid = ours.oid
    where not tgisinternal and tgenabled <> 'D'
    union all select 'rule', relname, rulename, '', '' from ours join pg_rewrite on ev_class = ours.oid
    where ev_type <> '1' and ev_enabled <> 'D'
    union all select 'policy', relname, '', '', '' from ours where relkind in ('r', 'p')
    and row_security_active(ours.oid)
    union all select 'right', relname, string_agg(wanted, ', '), '', current_user::text from ours cross join
    (values ('select'), ('insert'), ('update'), ('delete')) w(wanted)
    where relkind in ('r', 'p') and not has_table_privilege(ours.oid, wanted) group by relname
    union all select 'owner', relname, '', '', current_user::text from ours where not pg_has_role(relowner, 'member')
    union all select 'published', relname, '', '', '' from ours where (relreplident = 'n' or relreplident = 'd'
    and not exists (select 1 from pg_index where indrelid = ours.oid and indisprimary)) and exists (select 1 from
    pg_publication_tables t join pg_publication p on p.pubname = t.pubname where t.schemaname = ours.nspname
    and t.tablename = ours.relname and (p.pubupdate or p.pubdelete))
"""
"""What, table, name, columns or another table, role."""
RIGHTS = """
    select to_regnamespace('{0}') is not null, has_database_privilege(current_database(), 'create'),
    coalesce(has_schema_privilege(to_regnamespace('{0}'), 'usage'), false),
    has_database_privilege(current_database(), 'temporary'), current_database()::text, current_user::text
"""
COLUMNS = """
    select o.relname, attname, format_type(atttypid, atttypmod), attnotnull,
    attgenerated <> '' or attidentity = 'a', atthasdef or attidentity <> ''
    from ours o join pg_attribute on attrelid = o.oid where attnum > 0 and not attisdropped order by o.relname, attnum
"""
OWN_VIEWS = "activity"
"""The schema of gapless' views."""
VIEWS = """
    select distinct quote_ident(s.nspname) || '.' || quote_ident(v.relname) from pg_depend d
    join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
    join pg_class v on v.oid = r.ev_class join pg_namespace s on s.oid = v.relnamespace
    join pg_class t on t.oid = d.refobjid join pg_namespace n on n.oid = t.relnamespace
    where n.nspname = '{0}' and t.relname = '{1}' and v.relkind = 'v' and v.oid <> t.oid order by 1
"""
"""The views that read a table; those of gapless are made again by its next sync."""
TEXT = "character varying"
POSTGRES = Engine(
    types={
        "text": TEXT, "bigint": "bigint", "double": "double precision", "bool": "boolean",
        "timestamp": "timestamp with time zone", "json": "jsonb",
    },
    retyped="alter table {table} alter column {column} type {type} using {column}::{type};",
    nullable="alter table {table} alter column {column} drop not null;",
    plain="alter table {table} alter column {column} drop expression;",
)  # fmt: skip


def obstacles(reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
    """Yields what keeps a sync from writing to the dataset."""
    blocked = [*_rights(reader, dataset)]
    yield from blocked
    if blocked:
        return
    # Materialized, so that each branch of the union reads what was looked up once.
    ours = f"with ours as materialized ({OURS.format(dataset.name, dataset.listed())})"
    views = set()
    for kind, table, name, more, role in reader.rows(dataset.name, ours + PARTS) or ():
        if kind == "kind":
            views.add(table)
        if found := _part(dataset, kind, table, name, more, role):
            yield found
    columns: dict[str, dict[str, Found]] = {}
    for table, column, type_, not_null, computed, default in reader.rows(dataset.name, ours + COLUMNS) or ():
        known = TEXT if type_ == "text" else type_  # both hold every text
        columns.setdefault(table, {})[column] = Found(known, not_null, computed, default)
    for table, found_columns in columns.items():
        if table not in views:
            for obstacle in wrong_columns(dataset, table, found_columns, POSTGRES):
                yield _with_views(reader, dataset, table, obstacle)
            yield from _read_by_others(reader, dataset, table, found_columns)


def _read_by_others(reader: Asked, dataset: Dataset, table: str, found: Mapping[str, Found]) -> Iterator[Obstacle]:
    """Yields the views of somebody else on a table that must be made again, as they would go with the old one."""
    gone = [name for name, made in dataset.tables[table].items() if name not in found and not made.nullable]
    if not gone:
        return
    for (view,) in reader.rows(dataset.name, VIEWS.format(dataset.name, table)) or ():
        if not view.startswith(f"{OWN_VIEWS}."):
            what = f"lacks {', '.join(gone)} and must be made again, but the view {view} reads it"
            yield Obstacle(f"the table {dataset.named(table)}", what, f"drop view {view};")


def _with_views(reader: Asked, dataset: Dataset, table: str, obstacle: Obstacle) -> Obstacle:
    """Returns an obstacle whose remedy drops the views first that keep a column's type from being changed."""
    if " type " not in obstacle.remedy:
        return obstacle
    found = reader.rows(dataset.name, VIEWS.format(dataset.name, table)) or ()
    drop = f"drop view {', '.join(str(view) for (view,) in found)} cascade; " if found else ""
    return Obstacle(obstacle.table, obstacle.what, drop + obstacle.remedy)


def _rights(reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
    """Yields what the role may not do with the schemas, without which nothing else can be said."""
    schema = dataset.name
    for there, may_create, may_use, may_stage, database, role in reader.rows(schema, RIGHTS.format(schema)) or ():
        if there and not may_use:
            grant = f"grant usage, create on schema {schema} to {quoted(role)};"
            yield Obstacle(f"the schema {schema}", f"is closed to the role {role}", grant)
        elif not there and not may_create:
            grant = f"grant create on database {quoted(database)} to {quoted(role)};"
            yield Obstacle(f"the database {database}", f"lets the role {role} make no schema {schema}", grant)
        if not may_stage:
            grant = f"grant temporary on database {quoted(database)} to {quoted(role)};"
            yield Obstacle(f"the database {database}", f"lets the role {role} make no temporary tables", grant)


def _part(dataset: Dataset, kind: str, table: str, name: str, more: str, role: str) -> Obstacle | None:
    full, it = dataset.named(table), quoted(name)
    made = dataset.tables[table]
    known: dict[str, tuple[str, str]] = {
        "partition": (
            "is partitioned and has no partition for every row",
            f"create table {full}__rest partition of {full} default;",
        ),
        "index": (f"has the unique index {name}, which may refuse rows", f"drop index {dataset.name}.{it};"),
        "constraint": (
            f"has the constraint {name}, which may refuse rows",
            f"alter table {full} drop constraint {it};",
        ),
        "check": (f"has the check {name}, which may refuse rows", f"alter table {full} drop constraint {it};"),
        "reference": (
            f"has the foreign key {name}, which may refuse rows",
            f"alter table {full} drop constraint {it};",
        ),
        "referenced": (
            f"is referred to by the foreign key {name} of {more}, so its rows cannot be replaced",
            f"alter table {more} drop constraint {it};",
        ),
        "trigger": (f"has the trigger {name}, which may change or refuse rows", f"drop trigger {it} on {full};"),
        "rule": (f"has the rule {name}, which may change or refuse rows", f"drop rule {it} on {full};"),
        "policy": ("hides rows by row level security", f"alter table {full} disable row level security;"),
        "right": (f"is closed to the role {role} for {name}", f"grant {name} on table {full} to {quoted(role)};"),
        "owner": (
            f"lacks columns, which its owner alone can add, and the role {role} is not",
            f"alter table {full} owner to {quoted(role)};",
        ),
        "published": (
            "is published without a replica identity, so its rows cannot be replaced",
            f"alter table {full} replica identity full;",
        ),
    }
    if kind == "kind":
        known["kind"] = (f"{KINDS[name]}, so nothing can be written to it", f"drop {DROP[name]} {full};")
    if kind in ("index", "constraint") and is_key([*filter(None, more.split(","))], made):
        return None
    # Rows can be written without owning a table; columns cannot be added.
    if kind == "owner" and table not in dataset.lacking:
        return None
    return Obstacle(f"the table {full}", *known[kind], table if kind == "kind" else "")
