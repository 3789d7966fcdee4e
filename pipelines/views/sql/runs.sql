-- One row per sync of a source.
-- Key: source, run_id.
-- How each sync ended, over all sources.
-- for each source, union all
select
    '{source}' as source,
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
    version
from {source}.runs
-- end
