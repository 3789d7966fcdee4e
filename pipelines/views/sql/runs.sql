-- One row per sync of an account.
-- Key: account, run_id.
-- How each sync ended, over all sources.
-- - rows_loaded: Rows written into the vendor's tables, child rows too, new ones and those written again.
-- - shard: The shard, as 3/8; null: the whole source.
-- - scope: What it was asked for: a window of creation times, a backfill, or how many ids; null: all that is new.
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
    '{source}' as account,
    shard,
    scope
from {source}.runs
-- end
