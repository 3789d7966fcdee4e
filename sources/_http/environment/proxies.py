"""Reads the proxies that the environment names, and checks whether each of them can be used.

httpx reads the same variables. It says neither which one is wrong nor which one a request went through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit

from gapless.sources._http.environment.errors import NetworkSettingError

SCHEMES = ("http", "https", "socks5", "socks5h")
EXPECTED = "Expected http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT with : / @ in it percent-encoded."


@dataclass(frozen=True)
class Proxy:
    """A proxy that can be used, and the variable that names it."""

    variable: str
    url: str = field(repr=False)

    def __str__(self) -> str:
        """Returns scheme, host and port, and the variable; never a user name or a password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} ({self.variable})"


def proxies(parse: Callable[[str], object], environment: Mapping[str, str] = os.environ) -> dict[str, Proxy]:
    """Returns the proxies by the scheme of the requests that they are for: `http`, `https` and `all`.

    Raises NetworkSettingError for one that cannot be used, also by `parse`, which raises ValueError then. NO_PROXY is
    left to httpx, but `*` there means no proxy.
    """
    no = _variable("no", environment)
    if no and "*" in [entry.strip() for entry in environment[no].split(",")]:
        return {}
    named = {scheme: _variable(scheme, environment) for scheme in ("http", "https", "all")}
    return {scheme: _checked(name, environment[name], parse) for scheme, name in named.items() if name}


def _variable(scheme: str, environment: Mapping[str, str]) -> str | None:
    """Returns the name of the variable that counts, as urllib chooses it: one in lower case before all others."""
    own = f"{scheme}_proxy"
    if own in environment:  # an empty one switches the others off
        return own if environment[own] else None
    if scheme == "http" and "REQUEST_METHOD" in environment:
        return None  # in a CGI script a client may have set HTTP_PROXY, by a header `Proxy:`
    return next((name for name in reversed([*environment]) if name.lower() == own and environment[name]), None)


def _checked(variable: str, value: str, parse: Callable[[str], object]) -> Proxy:
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        problem = _problem(parts, url)
        parse(url)
    except ValueError:  # an invalid port, or a bracket that is not closed
        problem = "its host or its port cannot be read"
    if problem:
        raise NetworkSettingError(variable, f"{problem}. {EXPECTED} Hosts to ask without a proxy stand in NO_PROXY.")
    return Proxy(variable, url)


def _problem(parts: SplitResult, url: str) -> str | None:
    """Returns what is wrong, without the value, as it may hold a password. Raises ValueError for an invalid port."""
    if parts.scheme not in SCHEMES:
        return f"the scheme of this proxy is {parts.scheme!r}, which is none of {', '.join(SCHEMES)}"
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        return "a SOCKS proxy needs the package socksio: pip install socksio"
    return _address_problem(parts, url)


def _address_problem(parts: SplitResult, url: str) -> str | None:
    if not url.isprintable() or " " in url:
        return "there is a blank or a control character in this proxy's address"
    if not parts.hostname:
        return "this proxy's address names no host"
    if parts.port == 0:
        return "its port is 0"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "this proxy's address goes on after host and port"
    return None
