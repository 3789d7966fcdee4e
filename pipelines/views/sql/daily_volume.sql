-- One row per day (UTC) and account.
-- Key: day, account.
-- How much happened, and how much of it failed: records, and events, of which a record with parts has several.
-- - day: The day, in UTC; null: the vendor does not say when it happened.
-- - records: Records of that day.
-- - events: Rows of `timeline` of that day.
-- - failed: Rows of `timeline` of that day with an error.
select
    cast(occurred_at at time zone 'UTC' as date) as day,
    source,
    count(case when part = 0 then 1 end) as records,
    count(*) as events,
    count(error) as failed,
    account
from activity.timeline
group by cast(occurred_at at time zone 'UTC' as date), source, account
