-- One row per record that failed at its vendor.
-- Key: account, record_id.
-- What went wrong there, and why, as the vendor says. What gapless could not read stands in `dead_letters`.
select
    source,
    record_id,
    occurred_at,
    actor,
    action,
    object_type,
    object_id,
    parent_id,
    error,
    row_table,
    row_dlt_id,
    account,
    object_name,
    actor_type,
    gone_at
from activity.timeline
where error is not null
