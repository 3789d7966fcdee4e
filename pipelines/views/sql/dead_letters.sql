-- One row per record or parent that failed and is not healed.
-- Key: source, stream, kind, key.
-- Why something is missing, over all sources; the raw JSON stands in the source's own table, by `row_dlt_id`.
select
    'omni' as source,
    stream,
    kind,
    key,
    parent,
    reason,
    attempts,
    first_seen_at,
    last_seen_at,
    _dlt_id as row_dlt_id
from omni.dead_letters
where
    healed_at is null
    or _dlt_load_id not in (select load_id from omni._dlt_loads where status = 0)
union all
select
    'sequence' as source,
    stream,
    kind,
    key,
    parent,
    reason,
    attempts,
    first_seen_at,
    last_seen_at,
    _dlt_id as row_dlt_id
from sequence.dead_letters
where
    healed_at is null
    or _dlt_load_id not in (select load_id from sequence._dlt_loads where status = 0)
union all
select
    'kizen' as source,
    stream,
    kind,
    key,
    parent,
    reason,
    attempts,
    first_seen_at,
    last_seen_at,
    _dlt_id as row_dlt_id
from kizen.dead_letters
where
    healed_at is null
    or _dlt_load_id not in (select load_id from kizen._dlt_loads where status = 0)
union all
select
    'tines' as source,
    stream,
    kind,
    key,
    parent,
    reason,
    attempts,
    first_seen_at,
    last_seen_at,
    _dlt_id as row_dlt_id
from tines.dead_letters
where
    healed_at is null
    or _dlt_load_id not in (select load_id from tines._dlt_loads where status = 0)
