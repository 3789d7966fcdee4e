"""Reports about syncs to other systems: OpenTelemetry traces and metrics, and a webhook.
No key, query, id or text of a record may enter a report, and no failure here may change a sync.
"""
