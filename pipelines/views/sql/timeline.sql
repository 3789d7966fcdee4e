-- One row per thing that happened to something: a vendor's record, or each of its parts where it has some (part 0, 1, …).
-- Key: account, record_id, part.
-- All sources side by side; `source` is the vendor, `account` the source's name, which differs for a named account.
-- `row_table` and `row_dlt_id` lead to the row with everything else; `error` says why it failed, and is null where
-- nothing did. `object_type` is in lower case; `object_name` is what people call the object, where the vendor says it;
-- `actor_type` is user, key, automation or the vendor's own word in lower case, and null where nobody is named.
-- Records are counted by `part = 0`.
-- - record_id: Id of the vendor's record.
-- - part: Which part of the record, from 0; a record without parts has one row, with 0.
-- - occurred_at: When it happened, by the vendor's clock; null: the vendor does not say.
-- - actor: Who or what did it, as the vendor names them: a person, a key, a tool or an automated action.
-- - action: What was done, in the vendor's words.
-- - object_type: Kind of what it was done to, such as a lead, an invoice, a contact or a story.
-- - object_id: Id of what it was done to.
-- - parent_id: Id of what led to it or holds it; what that is depends on the source.
-- - status: State of the record, in the vendor's words.
-- - summary: What happened, in a sentence of the vendor's.
-- - error: Why it failed, as the vendor says; null: it did not fail.
-- - row_table: Table with the row that this one is made from, as `dataset.table`.
-- - row_dlt_id: `_dlt_id` of that row.
-- - object_name: What people call the object; null: the vendor does not say.
-- - actor_type: Kind of the actor: user, key, automation, or the vendor's own word; null: nobody is named.
-- - gone_at: When a whole listing first lacked the record, as the vendor does not serve it any more; null: it may be
--   served. `where gone_at is null` leaves out what is gone.
-- for each source, union all
select
    cast(source as varchar) as source,
    cast(record_id as varchar) as record_id,
    part,
    occurred_at,
    actor,
    action,
    cast(lower(object_type) as varchar) as object_type,
    cast(object_id as varchar) as object_id,
    cast(parent_id as varchar) as parent_id,
    cast(status as varchar) as status,
    cast(summary as varchar) as summary,
    cast(error as varchar) as error,
    cast(row_table as varchar) as row_table,
    row_dlt_id,
    cast('{source}' as varchar) as account,
    cast({object_name} as varchar) as object_name,
    cast({actor_type} as varchar) as actor_type,
    cast({gone_at} as timestamp with time zone) as gone_at
from activity.stg_{source}
-- end
