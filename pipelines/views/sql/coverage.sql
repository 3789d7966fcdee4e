-- One row per account, stream and parent (a stream without parents has one, called '').
-- Key: account, stream, parent.
-- What is proven complete, over all sources. Only completed loads prove anything, so others' rows are left out.
-- for each source, union all
select
    '{vendor}' as source,
    stream,
    parent,
    covered_from,
    covered_to,
    missing,
    records,
    last_checked_at,
    error,
    failures,
    '{source}' as account
from {source}.coverage
where _dlt_load_id in (select load_id from {source}._dlt_loads where status = 0)
-- end
