"""Beginnings of `coverage.error` that report something other than a failure; `failures` is 0 then."""

GONE = "gone: "
"""The vendor does not list the parent any more, and does not find it."""
NOT_FOLLOWED = "not followed any more: "
"""An earlier version noted that the vendor does not list the parent any more, but still serves it: it is read on."""
LOST = "lost: "
"""`missing` holds intervals of which the vendor did not keep everything until it was read: nobody can fill them."""
NOT_KEPT = f"{LOST}what was read before is not served any more, and what came next may be gone as well"


def is_closed(error: str | None, failures: int) -> bool:
    """Returns whether a parent is not read any more, because the vendor does not list it."""
    return not failures and (error or "").startswith((GONE, NOT_FOLLOWED))
