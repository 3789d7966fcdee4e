"""Sets dlt's own settings for a gapless process and names the folder for working files.

No setting of a source is read here.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gapless.pipelines.errors import WrongSettings

DLT_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__INTERCEPT_SIGNALS": "false",  # with it, dlt may ignore a Ctrl-C that comes while it loads
    "RUNTIME__LOG_LEVEL": "CRITICAL",  # dlt's logs repeat errors that we report, and quote data in them
}


def apply_dlt_defaults() -> None:
    """Sets dlt's settings in the environment; a variable that is already set stays as it is.

    Raises WrongSettings for a folder that nothing can work in: the working directory, or the temporary one.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise WrongSettings("the working directory was removed; change to one that is there.") from None
    for name, value in DLT_SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("DLT_DATA_DIR", str(working_root() / "dlt"))  # as root, dlt would use a system-wide folder
    # Started from a folder without settings of its own, a checkout still finds those that stand in it.
    checkout = Path(__file__).resolve().parents[1]
    if not Path(".dlt").is_dir() and (checkout / ".dlt").is_dir():
        os.environ.setdefault("DLT_PROJECT_DIR", str(checkout))


def working_root() -> Path:
    """Returns this user's folder for working files, below the system's temporary folder.

    Raises WrongSettings when none can be written to, or dlt could not write its path into JSON.
    """
    try:
        root = tempfile.gettempdir()
        root.encode()
    except FileNotFoundError:
        raise WrongSettings("no temporary folder can be written to; set TMPDIR to one that can.") from None
    except UnicodeEncodeError:
        raise WrongSettings(f"TMPDIR: its path {root!a} is not valid UTF-8; set it to another folder.") from None
    return Path(root) / f"gapless-{os.getuid()}"
