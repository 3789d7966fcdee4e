-- One row per account and actor.
-- Key: account, actor.
-- Who is at work, from when to when: people, keys, tools and automated actions, as the vendor names them;
-- `actor_type` says which.
select
    source,
    actor,
    count(distinct record_id) as records,
    count(*) as events,
    count(error) as failed,
    min(occurred_at) as first_seen_at,
    max(occurred_at) as last_seen_at,
    account,
    max(actor_type) as actor_type
from activity.timeline
where actor is not null
group by source, account, actor
