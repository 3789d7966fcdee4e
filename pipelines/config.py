"""Sets dlt's own settings for a gapless process and names the folder for working files.

No setting of a source is read here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

DLT_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__INTERCEPT_SIGNALS": "false",  # with it, dlt may ignore a Ctrl-C that comes while it loads
    "RUNTIME__LOG_LEVEL": "CRITICAL",  # dlt's logs repeat errors that we report, and quote data in them
}


def apply_dlt_defaults() -> None:
    """Sets dlt's settings in the environment; a variable that is already set stays as it is."""
    for name, value in DLT_SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("DLT_DATA_DIR", str(working_root() / "dlt"))  # as root, dlt would use a system-wide folder
    # Started from a folder without settings of its own, a checkout still finds those that stand in it.
    checkout = Path(__file__).resolve().parents[1]
    if not Path(".dlt").is_dir() and (checkout / ".dlt").is_dir():
        os.environ.setdefault("DLT_PROJECT_DIR", str(checkout))


def working_root() -> Path:
    """Returns this user's folder for working files, below the system's temporary folder."""
    return Path(tempfile.gettempdir()) / f"gapless-{os.getuid()}"
