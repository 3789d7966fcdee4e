-- One row per stay of an Omni action log in a status.
-- Key: account, record_id, position.
-- How long it stayed there: from when it was created (the first status), completed (the last one) or first seen in it,
-- until it was seen in the next, `next_status`. Whole seconds; null: it is in it still. A status between two syncs is
-- never seen, so a change that skips one counts as a change to the status that was seen.
-- - lead_name: First and last name of the lead; null: the vendor does not say.
-- - position: Which stay of the log it is, from 1.
-- - seen_at: When a sync first saw the log in this status, since it was in another one.
-- - entered_at: When it came to this status, as far as is known.
-- - left_at: When it came to the next status; null: it is in this one still.
-- - seconds: How long it stayed, in whole seconds; null: it is in it still.
-- - lead_name: Name of the lead.
-- - next_status: The status that it was seen in next; null: it is in this one still.
with changes as (
    select
        record_id,
        status,
        seen_at,
        lag(status) over (partition by record_id order by seen_at, status) as status_before
    from omni.status_changes
),

seen as (
    select
        log.id as record_id,
        log.lead_id,
        log.type,
        change.status,
        change.seen_at,
        log.created_at,
        log.completed_at,
        log.gone_at,
        row_number() over (partition by log.id order by change.seen_at, change.status) as position,
        count(*) over (partition by log.id) as positions
    from omni.action_logs as log
    join changes as change on change.record_id = log.id
    where change.status_before is null or change.status_before <> change.status
),

entered as (
    select
        record_id,
        lead_id,
        type,
        status,
        position,
        seen_at,
        gone_at,
        case
            when position = positions and completed_at is not null then completed_at
            when position = 1 then coalesce(created_at, seen_at)
            else seen_at
        end as entered_at
    from seen
),

in_order as (
    -- A status may be seen long after its record was completed: it was entered no later than those that follow it.
    select
        record_id,
        lead_id,
        type,
        status,
        position,
        seen_at,
        gone_at,
        min(entered_at) over (
            partition by record_id order by position rows between current row and unbounded following
        ) as entered_at
    from entered
),

stays as (
    select
        record_id,
        lead_id,
        type,
        status,
        position,
        seen_at,
        gone_at,
        entered_at,
        lead(entered_at) over (partition by record_id order by position) as left_at,
        lead(status) over (partition by record_id order by position) as next_status
    from in_order
),

leads as (
    select
        lead_id as named,
        nullif(trim(coalesce(first_name, '') || ' ' || coalesce(last_name, '')), '') as lead_name
    from omni.leads
)

select
    record_id,
    lead_id,
    type,
    status,
    position,
    seen_at,
    entered_at,
    left_at,
    date_diff('second', entered_at, left_at) as seconds,
    'omni' as account,
    next_status,
    lead_name,
    gone_at
from stays
left join leads on leads.named = stays.lead_id
