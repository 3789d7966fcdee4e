"""`python -m tests.bench shards`: one Omni sync into a real Postgres or DuckLake, whole and split, and the ledger.

The processes are this environment's own, as are the server's binaries. No figure of a vendor's limit enters: the
server that plays the vendor has none, so that what is left is computing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from tests.bench import table
from tests.bench.environments import ROOT
from tests.bench.measure import Cost, measure
from tests.bench.trial import UNLIMITED, Vendor, Work, environment, served
from tests.support.postgres import Server, running

SPLITS = {"postgres": (1, 2, 8), "ducklake": (1, 8)}
LEDGER = 1_000_000
LAKE = "DESTINATION__DUCKLAKE__CREDENTIALS__"
COUNTS = "select count(*), count(distinct id) from action_logs"
IN_LAKE = f"""
from gapless.pipelines.destinations.target import Target
with (target := Target.find("ducklake")).opened(), target.connection as connection:
    connection.execute("set search_path = 'omni'")
    print(*connection.execute("{COUNTS}").fetchone())
"""
INTRO = """# What shards cost

Written by `python -m tests.bench shards`: `gapless sync omni`, whole and in shards at once, each into an empty
Postgres, or an empty DuckLake that has its catalog there; then, in Postgres, one shard of eight with nothing new to
read, beside a ledger of a million parents. CPU is that of all gapless processes, and of Postgres. Peak memory is the
largest process's.
"""
PARENTS = """
    insert into coverage
        (stream, parent, covered_to, digest, records, last_checked_at, failures, _dlt_id, _dlt_load_id)
    select 'action_logs', gen_random_uuid()::text, now(), md5(i::text), 3, now(), 0, md5('x' || i),
        (select max(load_id) from _dlt_loads)
    from generate_series(1, %s) as i
"""


def shards(parents: int, logs: int, file: Path) -> str:
    """Measures each split and the ledger, and writes the page."""
    lines = []
    with running() as server, served(Work("omni", parents * logs, 0, parents)) as vendor:
        for where, of in [(where, of) for where, splits in SPLITS.items() for of in splits]:
            with _database(server, vendor) as env:
                what = f"{where}, {of} at once" if of > 1 else f"{where}, whole"
                lines.append(_line(what, server, env, vendor, of, range(1, of + 1), where))
        with _database(server, vendor) as env:
            _line("", server, env, vendor, 1, [1])
            data, size = _size(env, "action_logs"), _grown(env)
            lines.append(_line(f"postgres, 1 of 8, {LEDGER:,} in the ledger", server, env, vendor, 8, [1]))
    heads = ["shards", "wall s", "CPU s", "Postgres CPU s", "peak MB", "requests", "rows"]
    sizes = (
        f"In Postgres a log with its messages is {data / parents / logs:,.0f} bytes, a parent in the ledger"
        f" {size / LEDGER:,.0f}, indexes and all."
    )
    body = f"{table.markdown(heads, lines)}\n\n{sizes}"
    table.put(file, INTRO, f"{parents:,} leads, {parents * logs:,} logs", body)
    return body


@contextmanager
def _database(server: Server, vendor: Vendor) -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="bench-shards-"))
    settings = {"OMNI_API_KEY": "key", "OMNI_BASE_URL": vendor.url, "OMNI_REQUESTS_PER_MINUTE": str(UNLIMITED)}
    settings["DESTINATION__POSTGRES__CREDENTIALS"] = settings[f"{LAKE}CATALOG"] = server.database()
    settings[f"{LAKE}STORAGE__BUCKET_URL"] = str(folder / "lake")
    try:
        yield environment(folder, vendor, Work("omni", 0, 0, 0)) | settings | {"PYTHONPATH": str(ROOT)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _line(
    what: str, server: Server, env: dict[str, str], vendor: Vendor, of: int, which: Any, where: str = "postgres"
) -> list[str]:
    folder, before = Path(env["HOME"]), server.cpu()
    vendor.ask("shrink")

    def one(number: int) -> Cost:
        command = [sys.executable, "-m", "gapless.pipelines", "sync", "omni", "--destination", where]
        command += ["--shard", f"{number}/{of}"] if of > 1 else []
        return measure(command, folder=folder, env=env, output=folder / f"output.{number}.txt")

    with ThreadPoolExecutor(of) as pool:
        costs = list(pool.map(one, which))
    counts = vendor.ask("counts")
    line = [
        what,
        table.seconds(max(cost.wall for cost in costs)),
        table.seconds(sum(cost.cpu for cost in costs)),
        table.seconds(server.cpu() - before),
        f"{max(cost.peak_mb for cost in costs):,.0f}",
        f"{counts['requests']:,}",
        _verdict(env, counts["truth"], where) if not any(cost.exit_code for cost in costs) else "**failed**",
    ]
    print(*line, file=sys.stderr, flush=True)  # it takes minutes, and is not lost when it is broken off
    return line


def _verdict(env: dict[str, str], truth: dict[str, int], where: str) -> str:
    found = _asked(env, COUNTS) if where == "postgres" else _in_lake(env)
    return "same" if found == (truth["logs"], truth["logs"]) else f"**{found} of {truth['logs']}**"


def _in_lake(env: dict[str, str]) -> tuple[int, ...]:
    command = [sys.executable, "-c", IN_LAKE]
    told = subprocess.run(command, env=env, cwd=env["HOME"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, told.split()))


def _grown(env: dict[str, str]) -> int:
    _asked(env, PARENTS, LEDGER)
    return _size(env, "coverage")


def _size(env: dict[str, str], table: str) -> int:
    """Bytes of a table and those below it."""
    below = "select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' and relname like %s"
    (size,) = _asked(env, f"{below} and relnamespace = 'omni'::regnamespace", f"{table}%")
    return int(size)


def _asked(env: dict[str, str], query: str, *values: object) -> Any:
    url = env["DESTINATION__POSTGRES__CREDENTIALS"]
    with closing(psycopg2.connect(url, options="-csearch_path=omni")) as db, db, db.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone() if cursor.description else None
