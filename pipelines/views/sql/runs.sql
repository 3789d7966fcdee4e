-- One row per sync of an account.
-- Key: account, run_id.
-- How each sync ended, over all sources.
-- - rows_loaded: Rows written into the vendor's tables, child rows too, new ones and those written again.
-- for each source, union all
select
    '{vendor}' as source,
    run_id,
    started_at,
    finished_at,
    outcome,
    "rows" as rows_loaded,
    packages,
    requests,
    retries,
    seconds_waited,
    failures,
    error,
    version,
    '{source}' as account
from {source}.runs
-- end
