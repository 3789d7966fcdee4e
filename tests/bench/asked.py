"""`python -m tests.bench.asked FILE LOGS ITEMS`: counts and checksums of a loaded DuckDB file, as JSON.

The only module here that imports duckdb, so that the process that measures stays small. LOGS is a query of
(id, created, text), ITEMS one of (id, text, text).
"""

from __future__ import annotations

import json
import sys

import duckdb

# As `records.fingerprint` does it: the md5 of the values joined with |, its first 48 bits, summed.
FINGERPRINT = "cast(coalesce(sum(cast('0x' || left(md5(concat_ws('|', {})), 12) as bigint)), 0) as varchar)"
LOGGED = "select id, epoch_ms(created) as ms, text from ({}) as t(id, created, text)"
LOGS = f"select count(*), count(distinct id), {FINGERPRINT.format('id, ms, text')} from ({LOGGED})"
ITEMS = f"select count(*), {FINGERPRINT.format('id, text, other')} from ({{}}) as t(id, text, other)"


def asked(file: str, logs: str, items: str) -> dict[str, int]:
    with duckdb.connect(file, read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        row = connection.execute(LOGS.format(logs)).fetchone()
        nested = connection.execute(ITEMS.format(items)).fetchone()
    names = ("logs", "distinct", "log_sum", "items", "item_sum")
    return dict(zip(names, map(int, (*(row or ()), *(nested or ()))), strict=True))


if __name__ == "__main__":
    print(json.dumps(asked(*sys.argv[1:])))
