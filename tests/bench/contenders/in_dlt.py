"""gapless's source in a plain dlt pipeline, as pipelines/docs/DLT.md shows it: one run in the form BENCH_FORM."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import dlt

PAGES = 100
"""Of a piece: 10,000 Sequence logs."""

sys.path.pop(0)  # of this script: it holds a gapless.py, which is another contender
SOURCES = import_module("gapless.sources").SOURCES
shape = os.environ["BENCH_SHAPE"]
keys = {"SEQUENCE_CLIENT_ID": "id", "SEQUENCE_CLIENT_SECRET": "secret", "OMNI_API_KEY": "key"}
os.environ.update(
    {
        **keys,
        f"{shape.upper()}_BASE_URL": os.environ["BENCH_URL"],
        f"{shape.upper()}_REQUESTS_PER_MINUTE": os.environ["BENCH_RATE"],
    }
)
pipeline = dlt.pipeline("bench", destination=dlt.destinations.duckdb("loaded.duckdb"), dataset_name=shape)
form, unfinished = os.environ["BENCH_FORM"], True
while unfinished:
    source = SOURCES[shape].build(rows=form == "rows")
    pipeline.run(source.add_limit(PAGES) if form == "pieces" else source)
    unfinished = any("unfinished" in resource.state for resource in source.resources.values())
