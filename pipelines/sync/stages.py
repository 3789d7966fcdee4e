"""Checks dlt's own settings of its stages: it hands them on to a pool of threads, whose error names no setting."""

from __future__ import annotations

from itertools import product

from gapless.pipelines.errors import WrongSettings

STAGES = ("extract", "normalize", "load", "extract.data_writer", "normalize.data_writer", "data_writer")
COUNTS = {"workers": 256, "max_parallel_items": 10_000, "file_max_items": 2**62, "file_max_bytes": 2**62}
"""Settings that are whole numbers from 1 on, and the most that makes sense."""


def check_stages(source: str) -> None:
    """Raises WrongSettings, naming it, for a number of dlt's own that no stage of a sync can work with."""
    import dlt

    for name, most in COUNTS.items():
        for pipeline, stage in product((f"{source}.", ""), (*(f"{stage}." for stage in STAGES), "")):
            value: object = dlt.config.get(f"{pipeline}{stage}{name}")
            if value is None or _is_count(value, most):
                continue
            setting = f"{pipeline}{stage}{name}".replace(".", "__").upper()
            where = f" The source's own stands under [sources.{source}]." if pipeline and not stage else ""
            raise WrongSettings(
                f"{setting} must be a whole number between 1 and {most:,}; it is a setting of dlt.{where}"
            )


def _is_count(value: object, most: int) -> bool:
    text = str(value).strip()
    is_number = isinstance(value, int | str) and not isinstance(value, bool) and text.isascii() and text.isdecimal()
    return is_number and len(text) < 20 and 1 <= int(text) <= most
