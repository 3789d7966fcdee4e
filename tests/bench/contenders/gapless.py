"""gapless, as its README says: settings in the environment, `gapless sync SOURCE`, tables in a file or in Postgres.

The rate budget is what the server allows, or none to speak of: it is the vendor's, not the work's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

shape = os.environ["BENCH_SHAPE"]
keys = {"SEQUENCE_CLIENT_ID": "id", "SEQUENCE_CLIENT_SECRET": "secret", "OMNI_API_KEY": "key"}
settings = {
    f"{shape.upper()}_BASE_URL": os.environ["BENCH_URL"],
    f"{shape.upper()}_REQUESTS_PER_MINUTE": os.environ["BENCH_RATE"],
    "DESTINATION__DUCKDB__CREDENTIALS": "loaded.duckdb",
}
where = []
if url := os.environ.get("BENCH_POSTGRES"):
    where, settings["DESTINATION__POSTGRES__CREDENTIALS"] = ["--destination", "postgres"], url
command = Path(sys.executable).with_name("gapless")
os.execve(command, [command, "sync", shape, *where], {**os.environ, **keys, **settings})
