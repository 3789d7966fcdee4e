"""Sets dlt's own settings for a gapless process, and makes the folders that are ours alone.

No setting of a source may enter, and no other room: whatever starts a process begins here.
"""

from __future__ import annotations

import os
from pathlib import Path

from gapless.pipelines.config.folders import state_folder, temporary_folder
from gapless.pipelines.config.project import use_checkout
from gapless.pipelines.errors import WrongSettings

DLT_SETTINGS = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__INTERCEPT_SIGNALS": "false",  # with it, dlt may ignore a Ctrl-C that comes while it loads
    "RUNTIME__LOG_LEVEL": "CRITICAL",  # dlt's logs repeat errors that we report, and quote data in them
}


def apply_dlt_defaults() -> None:
    """Sets dlt's settings in the environment; a variable that is already set stays as it is.

    Raises WrongSettings for a folder that nothing can work in: the working directory, or the one for working files.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise WrongSettings("the working directory was removed; change to one that is there.") from None
    if (project := os.environ.get("DLT_PROJECT_DIR")) and not Path(project).is_dir():
        raise WrongSettings(f"DLT_PROJECT_DIR: there is no folder {project}; no settings would be read.")
    for name, value in DLT_SETTINGS.items():
        os.environ.setdefault(name, value)
    if "DLT_DATA_DIR" not in os.environ:  # else dlt would use a system-wide folder, or one that others can make
        os.environ["DLT_DATA_DIR"] = str((state_folder() or temporary_folder()) / "dlt")
    # Started from a folder without settings of its own, a checkout still finds those that stand in it.
    use_checkout()
