-- One row per row of the part of the timeline of {source} that has a time.
-- Key: record_id, part.
-- What it is in OCSF's terms, for a source that has no ocsf.sql of its own: a Base Event (0), as no class is known.
select
    record_id,
    part,
    occurred_at,
    0 as class_uid,
    99 as activity_id,
    action as verb,
    case when error is null then 1 else 3 end as severity_id,
    case when error is not null then 2 when status is not null then 99 end as status_id,
    status,
    error,
    summary,
    parent_id,
    actor as actor_user,
    cast(null as varchar) as actor_app,
    lower(object_type) as object_type,
    object_id,
    cast(null as varchar) as object_name,
    cast(null as varchar) as operation,
    cast(null as varchar) as api_version,
    cast(null as varchar) as origin,
    row_table,
    row_dlt_id
from activity.stg_{source}
where occurred_at is not null
