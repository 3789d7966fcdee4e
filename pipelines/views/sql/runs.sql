-- One row per sync of a source.
-- Key: source, run_id.
-- How each sync ended, over all sources.
select
    'omni' as source,
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
from omni.runs
union all
select
    'sequence' as source,
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
from sequence.runs
union all
select
    'kizen' as source,
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
from kizen.runs
union all
select
    'tines' as source,
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
from tines.runs
