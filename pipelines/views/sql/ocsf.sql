-- One row per row of `timeline` that has a time, without which there is no event in OCSF.
-- Key: account, record_id, part.
-- The timeline in the terms of the Open Cybersecurity Schema Framework, version 1.8.0. A name with `__` is a path:
-- `actor__user__name` is the attribute `name` of the object `user` of the object `actor`, and a number is a place in a
-- list. A null is an attribute that the event does not have. Account, record_id, part, row_table and row_dlt_id are not
-- OCSF's: they lead to the row.
-- - class_uid: Class of the event: 6003 API Activity, 3004 Entity Management, 1006 Scheduled Job Activity, 0 Base Event.
-- - class_name: Name of the class.
-- - category_uid: Category of the class: 6 application, 3 identity and access, 1 system, 0 none.
-- - type_uid: Class and activity in one number: class_uid * 100 + activity_id.
-- - activity_id: What was done, in the class's own numbers; 99: other, as activity_name says.
-- - activity_name: What was done, in OCSF's word for the number; of 99 in the vendor's words.
-- - time: When it happened, in milliseconds since 1970, UTC.
-- - severity_id: 1 informational, 2 low, 3 medium.
-- - status_id: 1 success, 2 failure, 99 another one, as `status` says; null: the vendor knows none.
-- - status: Success or Failure, else the status in the vendor's words.
-- - status_detail: Why it failed, as the vendor says.
-- - message: What happened, in a sentence of the vendor's.
-- - metadata__version: Version of OCSF.
-- - metadata__product__name: The vendor's product, which is called like the vendor here.
-- - metadata__product__vendor_name: The vendor.
-- - metadata__uid: Id of the event: account, record and part.
-- - metadata__original_event_uid: Id of the vendor's record.
-- - metadata__event_code: What was done, in the vendor's words.
-- - metadata__correlation_uid: Id of what led to it or holds it.
-- - metadata__tenant_uid: Name of the account.
-- - metadata__log_name: Table with the row that this one is made from.
-- - actor__user__name: The person that did it.
-- - actor__app_name: The program or key that did it, where it was no person; else the vendor's own service.
-- - api__operation: The operation, in the vendor's words (API Activity).
-- - api__version: Version of the vendor's API (API Activity).
-- - api__service__name: The vendor's product (API Activity).
-- - src_endpoint__svc_name: Where the request came from, as far as the vendor says (API Activity).
-- - resources__0__uid: Id of what it was done to (API Activity).
-- - resources__0__type: Kind of what it was done to (API Activity).
-- - resources__0__name: What people call it (API Activity).
-- - entity__uid: Id of what it was done to (Entity Management).
-- - entity__type: Kind of what it was done to (Entity Management).
-- - entity__name: What people call it (Entity Management).
-- - job__name: Name of the automated action that ran, else its id (Scheduled Job Activity).
-- - device__type_id: 99: other, as device__type says (Scheduled Job Activity).
-- - device__type: What the action ran on: the vendor's service (Scheduled Job Activity).
-- - device__name: The vendor's product (Scheduled Job Activity).
-- - unmapped__actor: Who or what did it (Base Event).
-- - unmapped__object_type: Kind of what it was done to (Base Event).
-- - unmapped__object_id: Id of what it was done to (Base Event).
-- - verb: What was done, in the vendor's words.
-- - actor_user: The person that did it.
-- - actor_app: The program or key that did it.
-- - operation: The operation, in the vendor's words.
-- - api_version: Version of the vendor's API.
-- - origin: Where the request came from.
with events as (
    -- for each source, union all
    select
        '{source}' as account,
        '{vendor}' as vendor,
        record_id,
        part,
        occurred_at,
        class_uid,
        activity_id,
        verb,
        severity_id,
        status_id,
        status,
        error,
        summary,
        parent_id,
        actor_user,
        actor_app,
        object_type,
        object_id,
        object_name,
        operation,
        api_version,
        origin,
        row_table,
        row_dlt_id
    from activity.ocsf_{source}
    -- end
)

select
    class_uid,
    case class_uid
        when 6003 then 'API Activity' when 3004 then 'Entity Management' when 1006 then 'Scheduled Job Activity'
        else 'Base Event'
    end as class_name,
    case class_uid when 6003 then 6 when 3004 then 3 when 1006 then 1 else 0 end as category_uid,
    class_uid * 100 + activity_id as type_uid,
    activity_id,
    case
        when activity_id = 99 then coalesce(verb, 'Unknown')
        when class_uid not in (6003, 3004) then null
        when activity_id = 1 then 'Create' when activity_id = 2 then 'Read' when activity_id = 3 then 'Update'
        when activity_id = 4 then 'Delete'
    end as activity_name,
    date_diff('millisecond', cast('1970-01-01 00:00:00+00' as timestamp with time zone), occurred_at) as "time",
    severity_id,
    status_id,
    case status_id when 1 then 'Success' when 2 then 'Failure' when 99 then status end as status,
    error as status_detail,
    summary as message,
    '1.8.0' as metadata__version,
    vendor as metadata__product__name,
    vendor as metadata__product__vendor_name,
    account || ':' || record_id || ':' || cast(part as varchar) as metadata__uid,
    record_id as metadata__original_event_uid,
    verb as metadata__event_code,
    parent_id as metadata__correlation_uid,
    account as metadata__tenant_uid,
    row_table as metadata__log_name,
    case when class_uid <> 0 then actor_user end as actor__user__name,
    case when class_uid <> 0 and actor_user is null then coalesce(actor_app, vendor) end as actor__app_name,
    case when class_uid = 6003 then coalesce(operation, verb, 'Unknown') end as api__operation,
    case when class_uid = 6003 then api_version end as api__version,
    case when class_uid = 6003 then vendor end as api__service__name,
    case when class_uid = 6003 then coalesce(origin, 'Unknown') end as src_endpoint__svc_name,
    case when class_uid = 6003 then object_id end as resources__0__uid,
    case when class_uid = 6003 and object_id is not null then object_type end as resources__0__type,
    case when class_uid = 6003 and object_id is not null then object_name end as resources__0__name,
    case when class_uid = 3004 then coalesce(object_id, record_id) end as entity__uid,
    case when class_uid = 3004 then coalesce(object_type, 'record') end as entity__type,
    case when class_uid = 3004 then object_name end as entity__name,
    case when class_uid = 1006 then coalesce(actor_app, parent_id, 'Unknown') end as job__name,
    case when class_uid = 1006 then 99 end as device__type_id,
    case when class_uid = 1006 then 'Service' end as device__type,
    case when class_uid = 1006 then vendor end as device__name,
    case when class_uid = 0 then coalesce(actor_user, actor_app) end as unmapped__actor,
    case when class_uid = 0 then object_type end as unmapped__object_type,
    case when class_uid = 0 then object_id end as unmapped__object_id,
    record_id,
    part,
    row_table,
    row_dlt_id,
    account
from events
