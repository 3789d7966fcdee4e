-- One row per thing that happened to something: a vendor's record, or each of its parts where it has some (part 0, 1, …).
-- Key: account, record_id, part.
-- All sources side by side; `source` is the vendor, `account` the source's name, which differs for a named account.
-- `row_table` and `row_dlt_id` lead to the row with everything else; `error` says why it failed, and is null where
-- nothing did. `object_type` is in lower case; `object_name` is what people call the object, where the vendor says it;
-- `actor_type` is user, key, automation or the vendor's own word in lower case, and null where nobody is named.
-- Records are counted by `part = 0`.
-- for each source, union all
select
    source,
    record_id,
    part,
    occurred_at,
    actor,
    action,
    lower(object_type) as object_type,
    object_id,
    parent_id,
    status,
    summary,
    error,
    row_table,
    row_dlt_id,
    '{source}' as account,
    {object_name} as object_name,
    {actor_type} as actor_type
from activity.stg_{source}
-- end
