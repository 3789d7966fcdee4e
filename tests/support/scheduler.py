"""Which tests go to the same worker: those of a file with fixtures of their module, so that these are set up once.

All others go one by one to whoever is idle. (`--dist loadgroup` of xdist 3.8 writes its groups into an attribute that
pytest 9.1 no longer reads.)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScopeScheduling

OF_A_MODULE = 'scope="module"'


class Scheduler(LoadScopeScheduling):
    """Hands out files or single tests."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        self._file = cache(lambda path: OF_A_MODULE in Path(config.rootpath, path).read_text())

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if self._file(path) else nodeid
