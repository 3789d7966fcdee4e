"""`python -m tests.bench wide`: what memory narrow and wide records take, each held against a bound that is promised.

Wide records are Tines logs whose `inbound_event` is long, from the fake in a process of its own; narrow ones are the
Sequence logs of the other benchmarks. A bound that is passed, or a row that is missing, is bold.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from gapless.sources._http.testing import serve
from gapless.sources.tines.fake import TinesFake
from tests.bench import table
from tests.bench.environments import ROOT
from tests.bench.measure import Cost, measure
from tests.bench.trial import FILE, UNLIMITED, Vendor, Work, environment, served

NARROW_MB, WIDE_MB = 512, 1024
WIDE = [(2_000, 10_000), (500, 100_000), (2_000, 100_000), (10, 3_000_000), (1, 60_000_000)]
"""Records, and the characters of one field of each."""
INTRO = """# What wide records cost

Written by `python -m tests.bench wide`: one first sync each into an empty DuckDB file. The peak is that of the
process, Python, Arrow and DuckDB together.
"""


def wide(narrow: int, file: Path) -> str:
    """Measures each kind of record and writes the page."""
    lines = [_narrow(narrow)] if narrow else []
    for count, size in WIDE:
        with _tines(count, size) as url, tempfile.TemporaryDirectory(prefix="bench-wide-") as folder:
            keys = {"TINES_API_KEY": "key", "TINES_BASE_URL": url}
            cost = _sync("tines", Path(folder), keys, Work("tines", count, 0, 1))
            query = "select count(*) from tines.action_logs where length(inbound_event::text) > ?"
            lines.append(
                _line(f"{count:,} of {size:,} characters", count, _counted(Path(folder), query, size), cost, WIDE_MB)
            )
    body = table.markdown(["records", "rows", "peak MB", "bound", "CPU s"], lines)
    table.put(file, INTRO, "Records", body)
    return body


def _narrow(count: int) -> list[str]:
    work = Work("sequence", count, 0, 1)
    with served(work) as vendor, tempfile.TemporaryDirectory(prefix="bench-wide-") as folder:
        keys = {"SEQUENCE_CLIENT_ID": "id", "SEQUENCE_CLIENT_SECRET": "secret", "SEQUENCE_BASE_URL": vendor.url}
        cost = _sync("sequence", Path(folder), keys, work)
        rows = _counted(Path(folder), "select count(*) from sequence.activity_logs where length(id) > ?", 0)
    return _line(f"{count:,} of about 2,300 characters, three items each", count, rows, cost, NARROW_MB)


def _sync(source: str, folder: Path, keys: dict[str, str], work: Work) -> Cost:
    settings = {
        f"{source.upper()}_REQUESTS_PER_MINUTE": str(UNLIMITED),
        "DESTINATION__DUCKDB__CREDENTIALS": str(folder / FILE),
    }
    env = environment(folder, Vendor(0), work) | settings | keys
    command = [Path(sys.executable).with_name("gapless"), "sync", source]
    return measure(command, folder=folder, env=env, output=folder / "output.txt")


def _counted(folder: Path, query: str, size: int) -> int:
    with duckdb.connect(str(folder / FILE), read_only=True) as connection:
        ((count,),) = connection.execute(query, [size]).fetchall()
    return int(count)


def _line(what: str, count: int, rows: int, cost: Cost, bound: int) -> list[str]:
    found = "all" if rows == count and not cost.exit_code else f"**{rows:,}, exit code {cost.exit_code}**"
    peak = f"{cost.peak_mb:,.0f}" if cost.peak_mb <= bound else f"**{cost.peak_mb:,.0f}**"
    return [what, found, peak, f"{bound:,}", f"{cost.cpu:.1f}"]


@contextmanager
def _tines(count: int, size: int) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.wide", str(count), str(size)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def _serve(count: int, size: int) -> None:
    fake = TinesFake(api_key="key", page_cap=100)
    action = fake.add_action()["id"]
    for number in range(count):
        fake.add_log(action, inbound_event={"number": number, "text": "x" * size})
    with serve(fake.handle) as url:
        print(url, flush=True)
        sys.stdin.read()  # until the runner closes it, or dies


if __name__ == "__main__":
    _serve(*map(int, sys.argv[1:]))
