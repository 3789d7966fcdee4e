-- One row per thing that happened to something: a vendor's record, or each of its parts where it has some (part 0, 1, …).
-- Key: account, record_id, part.
-- All sources side by side; `source` is the vendor, `account` the source's name, which differs for a named account.
-- `row_table` and `row_dlt_id` lead to the row with everything else; `error` says why it
-- failed, and is null where nothing did. Records are counted by `part = 0`.
-- for each source, union all
select
    source,
    record_id,
    part,
    occurred_at,
    actor,
    action,
    object_type,
    object_id,
    parent_id,
    status,
    summary,
    error,
    row_table,
    row_dlt_id,
    '{source}' as account
from activity.stg_{source}
-- end
