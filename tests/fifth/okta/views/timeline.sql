-- One row per target of an Okta event, and one per event without targets.
-- Key: record_id, part.
-- The common columns of `timeline`, out of Okta: the parent is the transaction, which several events may share.
select
    'okta' as source,
    event.uuid as record_id,
    coalesce(target._dlt_list_idx, 0) as part,
    event.published as occurred_at,
    coalesce(event.actor__alternate_id, event.actor__display_name, event.actor__id) as actor,
    event.event_type as action,
    target.type as object_type,
    target.id as object_id,
    event.transaction__id as parent_id,
    event.outcome__result as status,
    event.display_message as summary,
    case when event.outcome__result = 'FAILURE' then coalesce(event.outcome__reason, event.display_message) end
        as error,
    case when target._dlt_id is null then 'okta.log_events' else 'okta.log_events__target' end as row_table,
    coalesce(target._dlt_id, event._dlt_id) as row_dlt_id,
    target.display_name as object_name,
    case lower(event.actor__type)
        when 'publicclientapp' then 'key'
        when 'systemprincipal' then 'automation'
        else lower(event.actor__type)
    end as actor_type,
    event.gone_at as gone_at
from okta.log_events as event
left join okta.log_events__target as target on target._dlt_parent_id = event._dlt_id
