-- One row per account, stream and parent (a stream without parents has one, called '').
-- Key: account, stream, parent.
-- What is proven complete, over all sources. Only completed loads prove anything: of the row of a load that broke off
-- only what it notes as missing, lost or gone counts, and the next sync reads its parent again.
-- for each source, union all
select
    '{vendor}' as source,
    proof.stream,
    proof.parent,
    case when completed.load_id is not null then proof.covered_from end as covered_from,
    case when completed.load_id is not null then proof.covered_to end as covered_to,
    proof.missing,
    case when completed.load_id is not null then proof.records end as records,
    case when completed.load_id is not null then proof.last_checked_at end as last_checked_at,
    case when proof.failures = 0 or completed.load_id is not null then proof.error end as error,
    case when completed.load_id is not null then proof.failures else 0 end as failures,
    '{source}' as account
from {source}.coverage as proof
left join (
    select distinct load_id from {source}._dlt_loads where status = 0
) as completed on completed.load_id = proof._dlt_load_id
-- end
