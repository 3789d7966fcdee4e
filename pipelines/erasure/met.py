"""Writes tombstones of erased records that a sync met: hidden by a value, or under another parent than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dlt

    from gapless.sources._ledger.erasure.tombstones import Tombstones


def note_met(pipeline: dlt.Pipeline, erased: Tombstones) -> None:
    """Writes tombstones of the erased records that a sync met, so that no comparison reports them as missing."""
    if erased.met:
        # Here, as every sync asks, and few have erased anything.
        from gapless.pipelines.erasure.erase import transaction
        from gapless.pipelines.erasure.note import write_tombstones
        from gapless.pipelines.erasure.tables import Tables

        with pipeline.sql_client() as client:
            tables = Tables(pipeline, client)
            with transaction(tables):
                write_tombstones(tables, erased.met.values())
        erased.met.clear()
