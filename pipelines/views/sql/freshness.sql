-- One row per account and stream of records.
-- Key: account, stream.
-- How new and how complete: the newest record, up to when all parents are proven complete (null: one of them is not at
-- all), the newest of them beside it, how many parents are failing, have intervals not read yet (missing) or are to be
-- read again as a whole (reset), and how the last sync ended.
-- - stream: Name of the stream, which is that of its table.
-- - newest_record_at: Creation time of the newest record that is stored.
-- - covered_to: Up to when all parents are proven complete; null: one of them is not at all.
-- - newest_covered_to: Up to when the newest of the parents is proven complete.
-- - last_checked_at: When the vendor was last asked.
-- - parents: Parents of the stream; a listing without parents counts as one.
-- - failing: Parents whose last check failed.
-- - missing: Parents with intervals that are not read yet.
-- - reset: Parents that the next sync reads again as a whole.
-- - dead_letters: Records and parents that failed and are not healed.
-- - last_run_at: When the last sync of all that is new, or of a shard of that, began.
-- - last_run_outcome: How it ended: complete, partial or failed.
with newest as (
    -- for each stream, union all
    select
        '{vendor}' as source,
        '{source}' as account,
        '{stream}' as stream,
        max({time}) as newest_record_at
    from {source}.{stream}
    -- end
),

ends as (
    select
        account,
        stream,
        last_checked_at,
        covered_to,
        failures,
        missing,
        case when extract(year from covered_to) > 1970 then covered_to end as proven_to,
        case
            when failures = 0 and (substr(error, 1, 6) = 'gone: ' or substr(error, 1, 23) = 'not followed any more: ') then 0
            when missing is not null or extract(year from covered_to) <= 1970 then 1
            when covered_to is null and (failures > 0 or last_checked_at is null) then 1
            else 0
        end as unproven,
        case
            when failures = 0 and (substr(error, 1, 6) = 'gone: ' or substr(error, 1, 23) = 'not followed any more: ') then null
            when failures > 0 or last_checked_at is null then covered_to
            else last_checked_at
        end as complete_to
    from activity.coverage
),

proven as (
    select
        account,
        stream,
        case
            when max(unproven) = 1 then null
            when min(complete_to) < max(proven_to) then min(complete_to)
            else max(proven_to)
        end as covered_to,
        max(proven_to) as newest_covered_to,
        max(last_checked_at) as last_checked_at,
        count(*) as parents,
        count(case when failures > 0 then 1 end) as failing,
        count(missing) as missing,
        count(
            case
                when extract(year from covered_to) <= 1970 then 1
                when covered_to is null and last_checked_at is null then 1
            end
        ) as reset
    from ends
    group by account, stream
),

letters as (
    select account, stream, count(*) as dead_letters
    from activity.dead_letters
    group by account, stream
),

ended as (
    select
        account,
        started_at,
        outcome,
        row_number() over (partition by account order by started_at desc, run_id desc) as back
    from activity.runs
    where scope is null
)

select
    newest.source,
    newest.stream,
    newest.newest_record_at,
    proven.covered_to,
    proven.newest_covered_to,
    proven.last_checked_at,
    coalesce(proven.parents, 0) as parents,
    coalesce(proven.failing, 0) as failing,
    coalesce(proven.missing, 0) as missing,
    coalesce(proven.reset, 0) as reset,
    coalesce(letters.dead_letters, 0) as dead_letters,
    ended.started_at as last_run_at,
    ended.outcome as last_run_outcome,
    newest.account
from newest
left join proven on proven.account = newest.account and proven.stream = newest.stream
left join letters on letters.account = newest.account and letters.stream = newest.stream
left join ended on ended.account = newest.account and ended.back = 1
