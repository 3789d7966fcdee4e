-- One row per entity that a Kizen logged activity is about, and one per activity about none.
-- Key: record_id, part.
-- The common columns of `timeline`, out of Kizen: the object is the contact, company … it is about; the parent is the
-- scheduled activity it was logged for.
select
    'kizen' as source,
    logged.id as record_id,
    coalesce(entity._dlt_list_idx, 0) as part,
    logged.logged_at as occurred_at,
    coalesce(logged.logged_by__email, logged.logged_by__display_name, logged.logged_by__id) as actor,
    logged.activity_object__name as action,
    entity.object_api_name as object_type,
    entity.entity_id as object_id,
    logged.scheduled_activity_id as parent_id,
    case when logged.completed_at is null then 'logged' else 'completed' end as status,
    nullif(logged.notes, '') as summary,
    cast(null as varchar) as error,
    case
        when entity._dlt_id is null then 'kizen.logged_activities'
        else 'kizen.logged_activities__associated_entities'
    end as row_table,
    coalesce(entity._dlt_id, logged._dlt_id) as row_dlt_id,
    coalesce(entity.display_name, entity.name) as object_name,
    case
        when coalesce(logged.logged_by__email, logged.logged_by__display_name, logged.logged_by__id) is not null then 'user'
    end as actor_type,
    logged.gone_at as gone_at
from kizen.logged_activities as logged
left join kizen.logged_activities__associated_entities as entity on entity._dlt_parent_id = logged._dlt_id
