-- One row per Tines action log.
-- Key: record_id, part.
-- The common columns of `timeline`, out of Tines: the actor is the action by its name, the action its type, the object
-- the story by its name, the parent the action's id. An action is no person: all of it is automation.
select
    'tines' as source,
    cast(log.id as varchar) as record_id,
    cast(0 as bigint) as part,
    log.created_at as occurred_at,
    action.name as actor,
    action.type as action,
    'story' as object_type,
    cast(log.story_id as varchar) as object_id,
    cast(log.action_id as varchar) as parent_id,
    case log.level when 2 then 'warning' when 3 then 'info' when 4 then 'error' else cast(log.level as varchar) end
        as status,
    log.message as summary,
    case when log.level = 4 then coalesce(log.message, 'error') end as error,
    'tines.action_logs' as row_table,
    log._dlt_id as row_dlt_id,
    story.name as object_name,
    case when action.name is not null then 'automation' end as actor_type,
    log.gone_at as gone_at
from tines.action_logs as log
left join tines.actions as action on action.id = log.action_id
left join tines.stories as story on story.id = log.story_id
