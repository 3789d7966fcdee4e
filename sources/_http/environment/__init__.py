"""What the environment says about the network: proxies and certificates. It is read and checked here.

No HTTP may enter, and no request: a wrong variable is said before anything is sent.
"""

from __future__ import annotations

from gapless.sources._http.environment.certificates import FILE, FOLDER, KEY_LOG


def is_network_setting(variable: str) -> bool:
    """Returns whether a variable of the environment is for proxies or certificates."""
    return variable.lower().endswith("_proxy") or variable in (FILE, FOLDER, KEY_LOG)
