"""How we speak HTTP: one client with key, rate budget, retries, deadline and envelope check.

Knows no vendor, no record and no table; a query parameter or a field's name may not enter.
"""

from __future__ import annotations

from gapless.sources._http.auth import HeaderAuth, basic
from gapless.sources._http.client import Client, Stats, segment
from gapless.sources._http.errors import (
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
from gapless.sources._http.transport import httpx

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
