"""The views of the page: each module fetches what one of them shows, and says what its address may hold.

Neither HTML nor a word of HTTP may enter.
"""

from __future__ import annotations

from gapless.pipelines.ui.address import View
from gapless.pipelines.ui.views import (
    conversations,
    coverage,
    dead_letters,
    failures,
    health,
    row,
    runs,
    sql,
    tables,
    timeline,
    volume,
)

ALL = (health, timeline, conversations, coverage, failures, volume, dead_letters, runs, sql, tables, row)
"""In the order of the menu; the first one is shown where none is asked for."""
VIEWS: dict[str, View] = {module.VIEW.name: module.VIEW for module in ALL}
