-- One row per Tines action log that has a time.
-- Key: record_id, part.
-- What it is in OCSF's terms: Scheduled Job Activity (1006), as an action is an automated step that runs by its schedule
-- or when an event arrives. A log is no start and no end of it, so the activity is another one (99).
select
    record_id,
    part,
    occurred_at,
    1006 as class_uid,
    99 as activity_id,
    action as verb,
    case status when 'error' then 3 when 'warning' then 2 else 1 end as severity_id,
    case when error is not null then 2 when status is not null then 99 end as status_id,
    status,
    error,
    summary,
    parent_id,
    cast(null as varchar) as actor_user,
    actor as actor_app,
    object_type,
    object_id,
    object_name,
    cast(null as varchar) as operation,
    cast(null as varchar) as api_version,
    cast(null as varchar) as origin,
    row_table,
    row_dlt_id
from activity.stg_tines
where occurred_at is not null
