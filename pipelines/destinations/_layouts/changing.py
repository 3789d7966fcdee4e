"""Opens a dataset to change it: under the lock, and only if this version knows its layout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gapless.pipelines.destinations._layouts.layout import require_known
from gapless.pipelines.destinations.reader import PipelineReader
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import GaplessError, explain, interrupted

if TYPE_CHECKING:
    import dlt


@contextmanager
def changing(target: Target, dataset: str, failed: str) -> Iterator[dlt.Pipeline]:
    """Yields a pipeline into a dataset of the locked target.

    Raises Locked, NewerLayout, OtherVendor, and for whatever fails within a GaplessError that begins with `failed`.
    """
    with target.locked(dataset) as folder:
        pipeline = target.pipeline(dataset, folder)
        try:
            # Only where rows can be updated does a dataset carry its layout.
            if target.backend.updates_rows:
                require_known(PipelineReader(pipeline), dataset)
            yield pipeline
        except Exception as error:
            # A subclass has an exit code of its own.
            if isinstance(error, GaplessError) and type(error) is not GaplessError:
                raise
            if interrupted(error):
                raise KeyboardInterrupt from None
            raise GaplessError(f"{failed}: {explain(error)}") from error
        finally:
            # dlt keeps the pipeline that was made last as the active one, for every later call in this process.
            if pipeline.is_active:  # a reader of the same dataset may have ended in between
                pipeline.deactivate()
