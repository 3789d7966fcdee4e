-- One row per item of a Sequence activity log, and one per log without items.
-- Key: record_id, part.
-- The common columns of `timeline`, out of Sequence: who did what to which invoice, schedule, price …. Sequence knows
-- no status and no name of an object. Its documents name the kind USER alone; others keep their own word, in lower
-- case, except an API client, which is a key.
select
    'sequence' as source,
    log.id as record_id,
    coalesce(item._dlt_list_idx, 0) as part,
    log.created_at as occurred_at,
    coalesce(
        item.activity_log_actor__email,
        item.activity_log_actor__entity_id,
        item.activity_log_actor__id
    ) as actor,
    coalesce(item.verb, log.activity_type) as action,
    item.activity_log_object__entity_type as object_type,
    item.object_id,
    cast(null as varchar) as parent_id,
    cast(null as varchar) as status,
    coalesce(item.summary, item.name) as summary,
    cast(null as varchar) as error,
    case
        when item._dlt_id is null then 'sequence.activity_logs' else 'sequence.activity_logs__activity_log_items'
    end as row_table,
    coalesce(item._dlt_id, log._dlt_id) as row_dlt_id,
    cast(null as varchar) as object_name,
    case lower(item.activity_log_actor__entity_type)
        when 'api_client' then 'key'
        when 'system' then 'automation'
        else lower(item.activity_log_actor__entity_type)
    end as actor_type,
    log.gone_at as gone_at
from sequence.activity_logs as log
left join (
    -- Here, so that a database finds the items of one object before it joins them.
    select
        _dlt_id,
        _dlt_parent_id,
        _dlt_list_idx,
        verb,
        name,
        summary,
        activity_log_actor__email,
        activity_log_actor__entity_id,
        activity_log_actor__entity_type,
        activity_log_actor__id,
        activity_log_object__entity_type,
        coalesce(activity_log_object__entity_id, activity_log_object__id) as object_id
    from sequence.activity_logs__activity_log_items
) as item on item._dlt_parent_id = log._dlt_id
