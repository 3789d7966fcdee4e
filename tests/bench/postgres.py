"""`python -m tests.bench postgres`: `gapless sync sequence` into a real Postgres, beside the floor by hand.

CPU is the client's and the server's together: what one saves may be what the other spends. Both run in turn, against
one server with the settings of the tests, each into a database of its own.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg2

from tests.bench import checks, table
from tests.bench.environments import HERE, ROOT, python
from tests.bench.measure import measure
from tests.bench.trial import UNLIMITED, Vendor, Work, environment, served
from tests.support.postgres import OwnServer, running

INTRO = """# What the same work costs in Postgres

Written by `python -m tests.bench postgres`: `gapless sync sequence --destination postgres` beside the floor, which
copies the same columns into unlogged tables and merges them by hand (`contenders/floor_postgres.py`). First into an
empty database, then once more after new records came. CPU is user and system seconds of the client's processes and
of the server's. Medians over the rounds, in turn within a round. What was loaded is held against what was served.
"""
LOGS = "select id, (extract(epoch from created_at) * 1000)::bigint, trace_id from {}"
QUERIES = {
    "floor": (LOGS.format("logs"), "select id, summary, actor_email from items"),
    "gapless": (
        LOGS.format("sequence.activity_logs"),
        "select id, summary, activity_log_actor__email from sequence.activity_logs__activity_log_items",
    ),
}
# As `records.fingerprint` does it: the md5 of the values joined with |, its first 48 bits, summed.
SUMMED = "coalesce(sum(('x' || left(md5(concat_ws('|', a, b, c)), 12))::bit(48)::bigint), 0)"


@dataclass(frozen=True)
class Done:
    """One sync: seconds, memory, and whether the rows are those that were served."""

    wall: float
    client: float
    server: float
    peak_mb: float
    verdict: str


def postgres(work: Work, rounds: int, venvs: Path, file: Path) -> str:
    """Measures both, and writes the page."""
    measured: dict[str, list[list[Done]]] = {name: [] for name in QUERIES}
    interpreter = python(HERE / "floor_postgres.txt", venvs)
    commands = {
        "floor": [interpreter, HERE / "floor_postgres.py"],
        "gapless": [sys.executable, "-m", "gapless.pipelines", "sync", "sequence", "--destination", "postgres"],
    }
    with running() as server, served(work) as vendor:
        for number in range(rounds):
            for name, command in commands.items():
                with _database(server, vendor, work) as env:
                    run = _runner(name, [*map(str, command)], server, vendor, env)
                    measured[name].append([run("shrink"), run("grow")])
                print(f"round {number + 1} of {rounds}: {name} {measured[name][-1]}", file=sys.stderr, flush=True)
    body = rendered(measured, work)
    table.put(file, INTRO, f"{work.records:,} logs", body)
    return body


def rendered(measured: dict[str, list[list[Done]]], work: Work) -> str:
    """Returns the table."""
    heads = ["", "wall s", "client CPU s", "server CPU s", "x floor (CPU)", "peak MB"]
    heads += [f"{work.new:,} new: wall s", "client CPU s", "server CPU s", "x floor (CPU)", "rows"]
    lines = []
    for name, rounds in measured.items():
        cells = [name]
        for number in (0, 1):
            syncs, floor = [each[number] for each in rounds], [each[number] for each in measured["floor"]]
            middle = _middle(syncs)
            cells += [table.seconds(middle(which)) for which in (_wall, _client, _server)]
            cells.append(f"{middle(_cpu) / _middle(floor)(_cpu):.2f}")
            cells += [f"{middle(_peak):,.0f}"] if not number else []
        wrong = {one.verdict for each in rounds for one in each} - {"same"}
        lines.append([*cells, f"**{'; '.join(sorted(wrong))}**" if wrong else "same"])
    return table.markdown(heads, lines)


def _middle(syncs: list[Done]) -> Callable[[Callable[[Done], float]], float]:
    return lambda which: median(map(which, syncs))


def _wall(one: Done) -> float:
    return one.wall


def _client(one: Done) -> float:
    return one.client


def _server(one: Done) -> float:
    return one.server


def _cpu(one: Done) -> float:
    return one.client + one.server


def _peak(one: Done) -> float:
    return one.peak_mb


@contextmanager
def _database(server: OwnServer, vendor: Vendor, work: Work) -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="bench-postgres-"))
    url = server.database()
    settings = {
        "SEQUENCE_CLIENT_ID": "id",
        "SEQUENCE_CLIENT_SECRET": "secret",
        "SEQUENCE_BASE_URL": vendor.url,
        "SEQUENCE_REQUESTS_PER_MINUTE": str(UNLIMITED),
        "DESTINATION__POSTGRES__CREDENTIALS": url,
        "BENCH_POSTGRES": url,
        "PYTHONPATH": str(ROOT),
    }
    try:
        yield environment(folder, vendor, work) | settings
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        server.execute("postgres", f"drop database {url.rpartition('/')[2]} with (force)")


def _runner(
    name: str, command: list[str], server: OwnServer, vendor: Vendor, env: dict[str, str]
) -> Callable[[str], Done]:
    def run(state: str) -> Done:
        vendor.ask(state)
        folder, before = Path(env["HOME"]), server.cpu()
        cost = measure(command, folder=folder, env=env, output=folder / "output.txt")
        spent = server.cpu() - before
        if cost.exit_code:
            print((folder / "output.txt").read_text(errors="replace")[-2_000:], file=sys.stderr)
            verdict = f"failed: exit code {cost.exit_code}"
        else:
            verdict = checks.verdict(_loaded(env["BENCH_POSTGRES"], *QUERIES[name]), vendor.ask("counts")["truth"])
        return Done(cost.wall, cost.cpu, spent, cost.peak_mb, verdict)

    return run


def _loaded(url: str, logs: str, items: str) -> dict[str, int]:
    """Returns counts and sums, as `asked.asked` does for DuckDB."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"select count(*), count(distinct a), {SUMMED} from ({logs}) as t(a, b, c)")
        row = cursor.fetchone()
        cursor.execute(f"select count(*), {SUMMED} from ({items}) as t(a, b, c)")
        names = ("logs", "distinct", "log_sum", "items", "item_sum")
        return dict(zip(names, map(int, (*row, *cursor.fetchone())), strict=True))
