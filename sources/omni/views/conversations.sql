-- One row per message of an Omni lead.
-- Key: account, lead_id, position.
-- A lead's conversation, to be read in the order of `position` (1, 2, …).
-- - lead_name: First and last name of the lead; null: the vendor does not say.
-- - position: Place of the message in the lead's conversation, from 1.
-- - sent_at: When the action log was created that sent or received the message.
-- - documents: Number of files attached to the message.
-- - message_id: Id of the message.
-- - record_id: Id of the action log.
-- - row_dlt_id: `_dlt_id` of the message's row.
-- - lead_name: Name of the lead.
with documents as (
    select _dlt_parent_id as message, count(*) as documents
    from omni.action_logs__messages__documents
    group by _dlt_parent_id
)

select
    log.lead_id,
    row_number() over (partition by log.lead_id order by log.created_at, log.id, message._dlt_list_idx) as position,
    log.created_at as sent_at,
    message.channel,
    message.direction,
    message.subject,
    message.body,
    coalesce(documents.documents, 0) as documents,
    log.status,
    message.id as message_id,
    log.id as record_id,
    message._dlt_id as row_dlt_id,
    'omni' as account,
    nullif(trim(coalesce(lead.first_name, '') || ' ' || coalesce(lead.last_name, '')), '') as lead_name,
    log.gone_at
from omni.action_logs as log
join omni.action_logs__messages as message on message._dlt_parent_id = log._dlt_id
left join documents on documents.message = message._dlt_id
left join omni.leads as lead on lead.lead_id = log.lead_id
