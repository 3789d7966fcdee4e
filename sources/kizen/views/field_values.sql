-- One row per field of a Kizen logged activity.
-- Key: account, row_dlt_id.
-- The value of each field with a type. `text` is a scalar as text, of {id, code, name} the name, of {value} the value,
-- and of a list its JSON; `number`, `time` and `flag` are what that text reads as, else null. A number with a leading
-- zero is a text, a day is its midnight in UTC, and a time without an offset is UTC.
-- - activity: Name of the activity's type.
-- - record_id: Id of the logged activity.
-- - logged_at: When the activity was logged.
-- - field: Name of the field.
-- - label: Name of the field as people see it.
-- - field_type: Type of the field, in the vendor's words.
-- - text: Value as text.
-- - number: Value as a number; null: it is none.
-- - time: Value as a time; null: it is none.
-- - flag: Value as true or false; null: it is neither.
-- - row_dlt_id: `_dlt_id` of the field's row.
with texts as (
    select
        logged.activity_object__name as activity,
        logged.id as record_id,
        logged.logged_at,
        field.name as field,
        field.display_name as label,
        field.field_type,
        coalesce(field.value ->> '$.name', field.value ->> '$.value', field.value ->> '$') as text,
        field._dlt_id as row_dlt_id,
        logged.gone_at
    from kizen.logged_activities as logged
    join kizen.logged_activities__fields as field on field._dlt_parent_id = logged._dlt_id
),

days as (
    -- Only days that exist, as some engines end the whole query at another one.
    select
        activity,
        record_id,
        logged_at,
        field,
        label,
        field_type,
        text,
        row_dlt_id,
        gone_at,
        (
            regexp_matches(
                text, '^[12][0-9]{3}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)'
            )
            or regexp_matches(text, '^([12][0-9](0[48]|[2468][048]|[13579][26])|(12|16|20|24|28)00)-02-29')
        )
        and regexp_matches(
            text, '^.{10}(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?)?$'
        ) as is_time
    from texts
)

select
    activity,
    record_id,
    logged_at,
    field,
    label,
    field_type,
    text,
    case when regexp_matches(text, '^-?(0|[1-9][0-9]{0,17})([.][0-9]{1,9})?$') then try_cast(text as decimal(28, 9)) end
        as number,
    case
        when not is_time then null
        when length(text) = 10 then try_cast(text || 'T00:00:00+00:00' as timestamp with time zone)
        when regexp_matches(text, '(Z|[+-][0-9]{2}:[0-9]{2})$') then try_cast(text as timestamp with time zone)
        else try_cast(text || '+00:00' as timestamp with time zone)
    end as time,
    case text when 'true' then true when 'false' then false end as flag,
    row_dlt_id,
    'kizen' as account,
    gone_at
from days
