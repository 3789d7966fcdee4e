"""Has a load die when one table was merged, and no other: the order of merges is not ours to choose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest
from dlt.destinations.job_client_impl import SqlLoadJob

PATIENCE = 1.0
"""Seconds that each other merge waits for it; where merges take turns it must fail before the next one begins."""


@contextmanager
def killed_after(table: str) -> Iterator[None]:
    """Merges `table` alone while the block runs, and fails every other merge; asserts that it was merged."""
    real, merged = SqlLoadJob.run, Event()

    def run(job: SqlLoadJob) -> None:
        if job._parsed_file_name.table_name != table:
            merged.wait(PATIENCE)
            raise KeyError("killed before the merge of any other table")
        real(job)
        merged.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlLoadJob, "run", run)
        yield
    assert merged.is_set()
