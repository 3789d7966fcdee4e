"""Notes what a sync has met of the erased: records that a value hides, and those that stand under another parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapless.pipelines.erasure.erase import transaction
from gapless.pipelines.erasure.note import write_tombstones
from gapless.pipelines.erasure.tables import Tables

if TYPE_CHECKING:
    import dlt

    from gapless.sources._ledger.erasure.tombstones import Tombstones


def note_met(pipeline: dlt.Pipeline, erased: Tombstones) -> None:
    """Writes the tombstones of what was met, so that nobody misses these records; mostly there is none."""
    if erased.met:
        with pipeline.sql_client() as client:
            tables = Tables(pipeline, client)
            with transaction(tables):
                write_tombstones(tables, erased.met.values())
        erased.met.clear()
