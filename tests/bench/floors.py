"""`python -m tests.bench floors`: where a first sync's CPU goes, piece by piece, and the least that each can cost.

A piece's floor is the library alone that the piece is made of, over the same pages. Their sum says what a source on
httpx and dlt can reach at all, beside the floor of `compare`, which has neither. Pieces run in this process, on one
thread each; whole commands in their own.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import dlt
import duckdb
import httpx2
import msgspec
import pyarrow as pa
import urllib3

from gapless.sources._http.body import decoding
from gapless.sources._http.client import Client
from gapless.sources._schema.arrow import to_arrow
from gapless.sources._schema.fast_decoder import _struct
from gapless.sources._schema.parse import parse
from gapless.sources.sequence import STREAM, api
from tests.bench import table
from tests.bench.contenders import CONTENDERS
from tests.bench.environments import HERE, pythons
from tests.bench.measure import measure
from tests.bench.trial import FILE, UNLIMITED, Vendor, Work, environment, served

MAIN = STREAM.table
ENVELOPE, RECORD = msgspec.json.Decoder(api.ActivityLogsPage), msgspec.json.Decoder(_struct(MAIN.model))
PAGES, PAGE, PACKAGE = 200, 100, 10_000
"""Pages that the pieces work on, records of a page, and records of a load package."""
BASE = "import dlt, duckdb, pyarrow"
LIMIT = 1.2
"""Times the floor of `compare` that a first sync should take."""
HTTPX, CUT, DECODED = "httpx fetches them", "msgspec cuts them", "msgspec decodes them"
ARRAYS, LOADED = "pyarrow makes arrays of the lists", "dlt appends them to DuckDB, as parquet"
REACHABLE = (BASE, HTTPX, CUT, DECODED, ARRAYS, LOADED)
"""The floors that a source on httpx and dlt has in any case."""
INTRO = """# Where a first sync's processor time goes

Written by `python -m tests.bench floors`: CPU seconds for 100,000 Sequence logs with 300,000 items, medians over the
rounds, all in turn within a round. On the left what gapless does, on the right the library alone that does the same:
what is between them is our checks and Python's loops around it. The last lines are whole commands.
"""


@dataclass(frozen=True)
class Piece:
    """A part of a sync, and the library alone over the same input."""

    what: str
    ours: Callable[[], object] | None
    floor: str
    alone: Callable[[], object]
    part: bool = False
    """Whether it is a part of the piece above it."""


def floors(records: int, rounds: int, venvs: Path, file: Path) -> str:
    """Returns the table; it is also put into `file`."""
    work = Work("sequence", records, 0, 1)
    folder = Path(tempfile.mkdtemp(prefix="bench-floors-"))
    try:
        with served(work) as vendor:
            pieces = made(read(vendor), folder)
            # Else Python's collector would look at all of the input again and again, which no sync holds at once.
            gc.freeze()
            spent: dict[str, list[float]] = {}
            for piece in pieces:  # once unmeasured: what is imported and opened at first use is no part of it
                piece.alone()
                if piece.ours:
                    piece.ours()
            for _ in range(rounds):
                for piece in pieces:
                    for name, action in ((piece.what, piece.ours), (piece.floor, piece.alone)):
                        if action:
                            spent.setdefault(name, []).append(_cpu(action) * 100_000 / (PAGES * PAGE))
                for name, cost in _whole(vendor, work, venvs).items():
                    spent.setdefault(name, []).append(cost)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = rendered(pieces, {name: median(each) for name, each in spent.items()})
    table.put(file, INTRO, f"{records:,} logs, {rounds} rounds", text)
    return text


def _cpu(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


@dataclass(frozen=True)
class Input:
    """The same records in each form that they have on their way."""

    ours: Client
    client: httpx2.Client
    urls: list[str]
    bodies: list[bytes]
    raws: list[list[msgspec.Raw]]
    """By page."""
    groups: list[list[Any]]
    """Decoded records, as many together as a sync turns into columns at once."""
    tables: dict[str, pa.Table]
    cells: list[tuple[list[Any], pa.DataType]]
    """The columns as lists, with their types."""


def read(vendor: Vendor) -> Input:
    """Returns the input of all pieces, read from the vendor once."""
    client = httpx2.Client(headers={"Sequence-Version": "2024-07-30", "Authorization": "Basic aWQ6c2VjcmV0"})
    urls, bodies, after = [], [], ""
    for _ in range(PAGES):
        urls.append(f"{vendor.url}/api/activity-logs?limit={PAGE}&sortOrder=DESC{after}")
        bodies.append(client.get(urls[-1]).content)
        after = f"&after={ENVELOPE.decode(bodies[-1]).after}"
    raws = [ENVELOPE.decode(body).items for body in bodies]
    records = [parse(MAIN.model, page).records for page in raws]
    groups = [[one for page in records[at : at + 5] for one in page] for at in range(0, PAGES, 5)]
    rows = [to_arrow(MAIN, group).rows for group in groups]
    tables = {table.name: pa.Table.from_batches([some[table.name] for some in rows]) for table in MAIN.schema.tree()}
    columns = (column for batches in rows for batch in batches.values() for column in batch.columns)
    # Made once, as in a sync: a client reads certificates.
    ours = api.client("id", "secret", vendor.url, requests_per_minute=UNLIMITED)
    return Input(ours, client, urls, bodies, raws, groups, tables, [(c.to_pylist(), c.type) for c in columns])


def made(given: Input, folder: Path) -> list[Piece]:
    """Returns the pieces, in the order of a page's way."""
    with_input = [
        ("pages: fetched, checked, cut into records", _fetch, HTTPX, _by_httpx, False),
        ("", None, "urllib3 fetches them", _by_urllib3, False),
        ("of it checked and cut", _check, CUT, _cut, True),
        ("records decoded", _parse, DECODED, _decode, False),
        ("columns, keys and ids", _columns, ARRAYS, _arrays, False),
        ("", None, LOADED, partial(_load_by_dlt, folder), False),
        ("", None, "DuckDB inserts them, without dlt", partial(_insert, folder), False),
    ]
    return [
        Piece(what, partial(ours, given) if ours else None, floor, partial(alone, given), part=part)
        for what, ours, floor, alone, part in with_input
    ]


def _fetch(given: Input) -> None:
    for _ in islice(api.activity_logs(given.ours), PAGES):
        pass


def _by_httpx(given: Input) -> None:
    for url in given.urls:
        _ = given.client.get(url).content


def _by_urllib3(given: Input) -> None:
    pool = urllib3.PoolManager(headers=dict(given.client.headers))
    for url in given.urls:
        pool.request("GET", url)


def _check(given: Input) -> None:
    for body in given.bodies:
        decoding.decoded(body, "application/json", api.ActivityLogsPage)


def _cut(given: Input) -> None:
    for body in given.bodies:
        ENVELOPE.decode(body)


def _parse(given: Input) -> None:
    for page in given.raws:
        parse(MAIN.model, page)


def _decode(given: Input) -> None:
    for page in given.raws:
        _ = [RECORD.decode(raw) for raw in page]


def _columns(given: Input) -> None:
    for group in given.groups:
        to_arrow(MAIN, group)


def _arrays(given: Input) -> None:
    for cells, type_ in given.cells:
        pa.array(cells, type_)


def _load_by_dlt(folder: Path, given: Input) -> None:
    """Loads packages of PACKAGE records, as parquet without compression, by a plain pipeline."""
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")  # nobody is told that a benchmark runs
    place = Path(tempfile.mkdtemp(dir=folder))
    pipeline = dlt.pipeline(
        "floors", pipelines_dir=str(place), dataset_name="bench",
        destination=dlt.destinations.duckdb(str(place / FILE)),
    )  # fmt: skip
    parts = PAGES * PAGE // PACKAGE
    for part in range(parts):
        some = []
        for name, whole in given.tables.items():
            size = whole.num_rows // parts
            some.append(dlt.resource([whole.slice(part * size, size)], name=name, write_disposition="append"))
        pipeline.run(some, loader_file_format="parquet")


def _insert(folder: Path, given: Input) -> None:
    """Inserts all rows at once from Arrow, and writes them into the file."""
    with duckdb.connect(str(Path(tempfile.mkdtemp(dir=folder)) / FILE)) as connection:
        connection.execute("set threads = 1")
        for name, rows in given.tables.items():
            connection.register("held", rows)
            connection.execute(f"create table {name} as from held")
        connection.execute("checkpoint")


def _whole(vendor: Vendor, work: Work, venvs: Path) -> dict[str, float]:
    """Returns the CPU seconds of whole commands: the imports, the floor of `compare`, a first sync."""
    floor = CONTENDERS["floor"]
    commands = {
        BASE: [sys.executable, "-c", BASE],
        "gapless": [sys.executable, script("gapless")],
        "floor": [pythons(floor, venvs)[""], script("floor")],
    }
    spent = {}
    for name, command in commands.items():
        place = Path(tempfile.mkdtemp(prefix="bench-floors-"))
        try:
            cost = measure(command, folder=place, env=environment(place, vendor, work), output=place / "output.txt")
        finally:
            shutil.rmtree(place, ignore_errors=True)
        if cost.exit_code:
            raise RuntimeError(f"{name} ended with {cost.exit_code}")
        spent[name] = cost.cpu
    return spent


def script(name: str) -> Path:
    """Returns the path of a contender's script."""
    return HERE / CONTENDERS[name].script


def rendered(pieces: list[Piece], spent: dict[str, float]) -> str:
    """Returns the pieces beside their floors, and the sum of the floors beside the bound."""
    lines = [
        [one.what, f"{spent[one.what]:.2f}" if one.ours else "", one.floor, f"{spent[one.floor]:.2f}"]
        for one in pieces
    ]
    # What is left of the whole command: imports, the ledger, dlt, parquet, DuckDB's merge and the views.
    rest = spent["gapless"] - sum(spent[one.what] for one in pieces if one.ours and not one.part)
    least, bound = sum(spent[name] for name in REACHABLE), LIMIT * spent["floor"]
    lines += [
        ["the rest: imports, ledger, dlt, DuckDB's merge, views", f"{rest:.2f}", f"`{BASE}`", f"{spent[BASE]:.2f}"],
        [
            "a whole first sync",
            f"{spent['gapless']:.2f}",
            "sum: httpx, msgspec, pyarrow, dlt, imports",
            f"{least:.2f}",
        ],
        [f"{LIMIT} x the floor of `compare`", f"{bound:.2f}", "the floor of `compare`", f"{spent['floor']:.2f}"],
    ]
    told = "cannot" if least > bound else "could"
    share = least / spent["floor"]
    verdict = (
        f"With load packages of {PACKAGE:,} records the sum of the floors is {share:.2f} x the floor of `compare`:\n"
        f"{LIMIT} x {told} be reached on httpx and dlt, without any check. gapless takes"
        f" {spent['gapless'] / least:.2f} x that sum."
    )
    return f"{table.markdown(['what gapless does', 'CPU s', 'the library alone', 'CPU s'], lines)}\n\n{verdict}"
