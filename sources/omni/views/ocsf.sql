-- One row per Omni action log that has a time.
-- Key: record_id, part.
-- What it is in OCSF's terms: Entity Management (3004), as each log is an action on a lead, the entity. Only a manual
-- update says what was done in a word of OCSF's (3, update). Omni names no person, so the actor is a program: the tool.
select
    record_id,
    part,
    occurred_at,
    3004 as class_uid,
    case when action = 'MANUAL_UPDATE' then 3 else 99 end as activity_id,
    action as verb,
    case when error is null then 1 else 3 end as severity_id,
    case
        when error is not null then 2 when status = 'COMPLETED' then 1 when status is not null then 99
    end as status_id,
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
from activity.stg_omni
where occurred_at is not null
