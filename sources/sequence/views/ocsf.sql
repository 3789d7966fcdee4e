-- One row per row of Sequence's part of the timeline that has a time.
-- Key: record_id, part.
-- What it is in OCSF's terms: API Activity (6003), as each log names a version of the API and where the request came
-- from. Verbs other than these four are other activities (99); what an archived object is, OCSF has no word for.
select
    event.record_id,
    event.part,
    event.occurred_at,
    6003 as class_uid,
    case upper(event.action)
        when 'CREATED' then 1 when 'VIEWED' then 2 when 'UPDATED' then 3 when 'DELETED' then 4 else 99
    end as activity_id,
    event.action as verb,
    1 as severity_id,
    cast(null as integer) as status_id,
    event.status,
    event.error,
    event.summary,
    event.parent_id,
    case when event.actor_type = 'user' then event.actor end as actor_user,
    case when event.actor_type <> 'user' or event.actor_type is null then event.actor end as actor_app,
    event.object_type,
    event.object_id,
    event.object_name,
    log.activity_type as operation,
    log.api_version as api_version,
    log.origin as origin,
    event.row_table,
    event.row_dlt_id
from activity.stg_sequence as event
join sequence.activity_logs as log on log.id = event.record_id
where event.occurred_at is not null
