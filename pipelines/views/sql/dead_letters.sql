-- One row per record or parent that failed and is not healed.
-- Key: account, stream, kind, key.
-- Why something is missing, over all sources; the raw JSON stands in the source's own table, by `row_dlt_id`.
-- - row_dlt_id: `_dlt_id` of the row in the account's own table `dead_letters`.
-- for each source, union all
select
    '{vendor}' as source,
    stream,
    kind,
    key,
    parent,
    reason,
    attempts,
    first_seen_at,
    last_seen_at,
    _dlt_id as row_dlt_id,
    '{source}' as account
from {source}.dead_letters
where
    healed_at is null
    or _dlt_load_id not in (select load_id from {source}._dlt_loads where status = 0)
-- end
