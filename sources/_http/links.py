"""Decides which links of an answer may be requested: those within the base URL's own origin. Sends nothing."""

from __future__ import annotations

from gapless.sources._http.auth import origin, site
from gapless.sources._http.transport import httpx

LONGEST_HOST = 253
"""Characters that a name can have in DNS (RFC 1035, section 2.3.4)."""


def joined(page: httpx.URL, link: str) -> httpx.URL | None:
    """Returns a link as an absolute URL, resolved against the page that holds it (RFC 3986, section 5).

    Returns None for a link that cannot be requested: its scheme is neither http nor https, it has no host, or its
    host or port is invalid.
    """
    try:
        found = page.join(link)
        host = found.host  # decodes the name; raises for an invalid one
    except (httpx.InvalidURL, ValueError):
        return None
    is_sound = found.scheme in ("http", "https") and 0 < len(host) <= LONGEST_HOST and found.port != 0
    return found if is_sound else None


def followed(link: str, page: httpx.URL, home: httpx.URL, *, inner: bool) -> httpx.URL | None:
    """Returns the URL to request for a link, always of the origin of `home`; None for a link that leads elsewhere.

    A vendor behind a gateway writes links with the scheme, the host and the path inside it. If such a link ends in
    the page's own path, or that in the link's, its query is taken to the page's URL, where `inner` links are allowed.
    """
    found = joined(page, link)
    if found is None or found.userinfo:
        return None
    if origin(found) == origin(home):
        return found
    own, within = page.path.rstrip("/"), found.path.rstrip("/")
    is_same_page = bool(within) and (own.endswith(within) or within.endswith(own))
    if inner and is_same_page:
        return page.copy_with(query=found.query)
    return None


def elsewhere(what: str, found: httpx.URL | None, home: httpx.URL) -> str:
    """Returns the text for a redirect or a link that leads elsewhere, without its path and query."""
    there = "no valid URL" if found is None else site(found)
    return (
        f"the {what} points to {there}, but the key is for {site(home)};"
        " if the vendor has moved, change the source's base_url setting"
    )
