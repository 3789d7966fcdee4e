-- One row per row of Kizen's part of the timeline that has a time.
-- Key: record_id, part.
-- What it is in OCSF's terms: Entity Management (3004): somebody logged an activity (99, other) with a contact, a company
-- …, the entity. Of an activity about none the activity itself is the entity.
select
    record_id,
    part,
    occurred_at,
    3004 as class_uid,
    99 as activity_id,
    action as verb,
    case when error is null then 1 else 3 end as severity_id,
    case when status = 'completed' then 1 else 99 end as status_id,
    status,
    error,
    summary,
    parent_id,
    actor as actor_user,
    cast(null as varchar) as actor_app,
    object_type,
    object_id,
    object_name,
    cast(null as varchar) as operation,
    cast(null as varchar) as api_version,
    cast(null as varchar) as origin,
    row_table,
    row_dlt_id
from activity.stg_kizen
where occurred_at is not null
