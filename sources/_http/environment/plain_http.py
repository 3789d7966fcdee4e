"""Decides whether a request may go without encryption: a key in it could be read on the way, also by a proxy.

On this machine itself (loopback) it may, and goes through no proxy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address

ALLOW = "GAPLESS_ALLOW_HTTP"
"""`1` in the environment allows it to every host, as in a network that is one's own."""


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine by its name or address: localhost, 127.0.0.0/8, ::1."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def plain_http_problem(scheme: str, host: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Returns why nothing secret may be sent to this host; None: it may."""
    if scheme != "http" or is_loopback(host) or environment.get(ALLOW, "").strip().lower() in ("1", "true"):
        return None
    return f"is plain http to {host}, where others on the way could read the key; write https://, or set {ALLOW}=1"
