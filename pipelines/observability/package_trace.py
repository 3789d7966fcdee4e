"""What traces and metrics use of dlt's trace of a load package; dlt does not document the classes themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol


class NormalizeInfo(Protocol):
    """The result of dlt's step `normalize`."""

    row_counts: Mapping[str, int]
    """Rows by table."""


class StepTrace(Protocol):
    """One step of a load package; times are UTC."""

    step: str
    """extract, normalize, load or others"""
    started_at: datetime
    finished_at: datetime | None
    step_exception: str | None
    exception_traces: Sequence[Mapping[str, object]] | None


class PackageTrace(Protocol):
    """A load package, also one that failed; times are UTC."""

    started_at: datetime
    finished_at: datetime | None
    steps: Sequence[StepTrace]
    last_normalize_info: NormalizeInfo | None
    last_load_info: object | None


class NamedPipeline(Protocol):
    """The pipeline that a trace belongs to."""

    pipeline_name: str
