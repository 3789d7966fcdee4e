-- One row per account, stream and parent (a stream without parents has one, called '').
-- Key: account, stream, parent.
-- What is proven complete, over all sources. Only completed loads prove anything: of the row of a load that broke off
-- only what it notes as missing, lost or gone counts, and the next sync reads its parent again.
-- for each source, union all
select
    '{vendor}' as source,
    stream,
    parent,
    case when _dlt_load_id in (select load_id from {source}._dlt_loads where status = 0) then covered_from end as covered_from,
    case when _dlt_load_id in (select load_id from {source}._dlt_loads where status = 0) then covered_to end as covered_to,
    missing,
    case when _dlt_load_id in (select load_id from {source}._dlt_loads where status = 0) then records end as records,
    case
        when _dlt_load_id in (select load_id from {source}._dlt_loads where status = 0) then last_checked_at
    end as last_checked_at,
    case
        when failures = 0 or _dlt_load_id in (select load_id from {source}._dlt_loads where status = 0) then error
    end as error,
    case when _dlt_load_id in (select load_id from {source}._dlt_loads where status = 0) then failures else 0 end as failures,
    '{source}' as account
from {source}.coverage
-- end
