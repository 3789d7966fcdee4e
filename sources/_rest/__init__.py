"""How we speak HTTP: one client with key, rate budget, retries, deadline and envelope check.

Knows no vendor, no record and no table; a query parameter or a field's name may not enter.
"""

from __future__ import annotations

from sources._rest.auth import HeaderAuth, basic
from sources._rest.client import Client, Stats, segment
from sources._rest.errors import (
    BadEnvelope,
    BadRequest,
    Forbidden,
    ForeignHost,
    Loop,
    NotFound,
    Rejected,
    Retryable,
    Stop,
    Throttled,
    Unauthorized,
    Unavailable,
    VendorError,
)
from sources._rest.transport import httpx

__all__ = [
    "BadEnvelope",
    "BadRequest",
    "Client",
    "Forbidden",
    "ForeignHost",
    "HeaderAuth",
    "Loop",
    "NotFound",
    "Rejected",
    "Retryable",
    "Stats",
    "Stop",
    "Throttled",
    "Unauthorized",
    "Unavailable",
    "VendorError",
    "basic",
    "httpx",
    "segment",
]
