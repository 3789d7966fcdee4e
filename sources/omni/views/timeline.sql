-- One row per Omni action log.
-- Key: record_id, part.
-- The common columns of `timeline`, out of Omni. Omni names no person, so the actor is the tool, where one was used;
-- the object is the lead, by first and last name, the parent the action that led to this one.
select
    'omni' as source,
    log.id as record_id,
    cast(0 as bigint) as part,
    log.created_at as occurred_at,
    log.tool__name as actor,
    log.type as action,
    'lead' as object_type,
    log.lead_id as object_id,
    log.parent_action_id as parent_id,
    log.status as status,
    log.summary as summary,
    case
        when log.status = 'FAILED' or log.error is not null then coalesce(log.error, log.summary, log.status)
    end as error,
    'omni.action_logs' as row_table,
    log._dlt_id as row_dlt_id,
    nullif(trim(coalesce(lead.first_name, '') || ' ' || coalesce(lead.last_name, '')), '') as object_name,
    case when log.tool__name is not null then 'automation' end as actor_type,
    log.gone_at as gone_at
from omni.action_logs as log
left join omni.leads as lead on lead.lead_id = log.lead_id
