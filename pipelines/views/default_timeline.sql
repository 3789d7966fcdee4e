-- One row per record of {source}.
-- Key: record_id, part.
-- The common columns of `timeline`, for a source that has no timeline.sql of its own: what its records are about is not
-- known here.
select
    '{vendor}' as source,
    cast(record.{id} as varchar) as record_id,
    cast(0 as bigint) as part,
    {time} as occurred_at,
    cast(null as varchar) as actor,
    '{stream}' as action,
    cast(null as varchar) as object_type,
    cast(null as varchar) as object_id,
    {parent} as parent_id,
    cast(null as varchar) as status,
    cast(null as varchar) as summary,
    cast(null as varchar) as error,
    '{source}.{stream}' as row_table,
    record._dlt_id as row_dlt_id,
    cast(null as varchar) as object_name,
    cast(null as varchar) as actor_type,
    record.gone_at as gone_at
from {source}.{stream} as record
