-- One row per account and actor.
-- Key: account, actor.
-- Who is at work, from when to when: people, keys, tools and automated actions, as the vendor names them;
-- `actor_type` says which.
-- - records: Records that the actor has a part in.
-- - events: Rows of `timeline` of the actor.
-- - failed: Rows of `timeline` of the actor with an error.
-- - first_seen_at: When the actor was first at work.
-- - last_seen_at: When the actor was last at work.
-- - actor_type: Kind of the actor, as in `timeline`.
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
