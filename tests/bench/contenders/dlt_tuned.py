"""dlt's declarative REST source with what dlt's own pages advise: parquet files (CSV for Postgres), the upsert
strategy, metadata kept as JSON, larger buffers, loaded packages deleted, parents in parallel. In Postgres the default
strategy: upsert's `delete … not in` of nested rows took more than ten minutes for 300,000 of them.

https://dlthub.com/docs/reference/performance (buffers; `parallelized` and its workers for Omni's leads)
https://dlthub.com/docs/dlt-ecosystem/file-formats/parquet and https://dlthub.com/docs/general-usage/merge-loading
(upsert), https://dlthub.com/docs/dlt-ecosystem/destinations/postgres (fast loading with CSV). More processes for
normalize are left out: they trade more CPU for less wall, and there are two cores.
"""

from __future__ import annotations

import os

os.environ.setdefault("DATA_WRITER__BUFFER_MAX_ITEMS", "20000")
os.environ.setdefault("LOAD__DELETE_COMPLETED_JOBS", "true")
os.environ.setdefault("EXTRACT__WORKERS", "8")

from dlt.sources.rest_api import rest_api_source
from dlt_rest_api import omni, pipeline, sequence

POSTGRES = "BENCH_POSTGRES" in os.environ
UPSERT = {"disposition": "merge", "strategy": "upsert"}
METADATA = {"activityLogItems": {"columns": {"metadata": {"name": "metadata", "data_type": "json"}}}}


def main() -> None:
    shape = os.environ["BENCH_SHAPE"]
    config = sequence() if shape == "sequence" else omni()
    for resource in config["resources"]:
        resource["write_disposition"] = "merge" if POSTGRES else UPSERT
        if shape == "sequence":
            resource["nested_hints"] = METADATA
        else:
            resource["parallelized"] = True
    pipeline().run(rest_api_source(config), loader_file_format="csv" if POSTGRES else "parquet")


if __name__ == "__main__":
    main()
