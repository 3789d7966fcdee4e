-- One row per source, stream and parent (a stream without parents has one, called '').
-- Key: source, stream, parent.
-- What is proven complete, over all sources. Only completed loads prove anything, so others' rows are left out.
select
    'omni' as source,
    stream,
    parent,
    covered_from,
    covered_to,
    missing,
    records,
    last_checked_at,
    error,
    failures
from omni.coverage
where _dlt_load_id in (select load_id from omni._dlt_loads where status = 0)
union all
select
    'sequence' as source,
    stream,
    parent,
    covered_from,
    covered_to,
    missing,
    records,
    last_checked_at,
    error,
    failures
from sequence.coverage
where _dlt_load_id in (select load_id from sequence._dlt_loads where status = 0)
union all
select
    'kizen' as source,
    stream,
    parent,
    covered_from,
    covered_to,
    missing,
    records,
    last_checked_at,
    error,
    failures
from kizen.coverage
where _dlt_load_id in (select load_id from kizen._dlt_loads where status = 0)
union all
select
    'tines' as source,
    stream,
    parent,
    covered_from,
    covered_to,
    missing,
    records,
    last_checked_at,
    error,
    failures
from tines.coverage
where _dlt_load_id in (select load_id from tines._dlt_loads where status = 0)
