"""`python -m tests.bench postgres`: the contenders into a real Postgres, beside a floor by hand.

CPU is the client's and the server's together: what one saves may be what the other spends. All run in turn, against
one server with the settings of the tests, each into a database of its own.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg2

from tests.bench import chart, checks, table
from tests.bench.compare import installed
from tests.bench.contenders import IN_POSTGRES, Contender
from tests.bench.environments import HERE
from tests.bench.measure import measure
from tests.bench.trial import Vendor, Work, environment, served
from tests.support.postgres import OwnServer, running

INTRO = """# What the same work costs in Postgres

Written by `python -m tests.bench postgres`. Every contender reads the same pages into an empty database of one
server, then once more after new records came; the floor copies the same columns into unlogged tables and merges them
by hand (`contenders/floor_postgres.py`). CPU is user and system seconds of the client's processes and of the
server's. Medians over the rounds, in turn within a round. What was loaded is held against what was served. Singer and
Airbyte load items as JSON in a column of their log, the others as rows of their own.
"""
LOGS = "select id, (extract(epoch from created) * 1000)::bigint, text from ({}) as t(id, created, text)"
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


def postgres(work: Work, names: Sequence[str], rounds: int, venvs: Path, file: Path) -> str:
    """Measures those of the contenders that can be installed, and writes the page; its chart lies beside it."""
    ready = dict(installed([IN_POSTGRES[name] for name in names if name in IN_POSTGRES], venvs))
    measured: dict[str, list[list[Done]]] = {name: [] for name in ready}
    with running() as server, served(work) as vendor:
        for number in range(rounds):
            for name, interpreters in ready.items():
                with _database(server, vendor, work) as env:
                    env |= {variable: str(path) for variable, path in interpreters.items() if variable}
                    run = _runner(IN_POSTGRES[name], interpreters[""], server, vendor, env)
                    measured[name].append([run("shrink"), run("grow")])
                print(f"round {number + 1} of {rounds}: {name} {measured[name][-1]}", file=sys.stderr, flush=True)
    heading, body = f"{work.records:,} logs", rendered(measured, work)
    table.put(file, INTRO, heading, body)
    spent = {name: _middle([each[0] for each in rounds])(_cpu) for name, rounds in measured.items()}
    marks = {name: f"({value / spent['floor']:.1f} x floor)" for name, value in spent.items() if "floor" in spent}
    title = f"CPU seconds, client and server, to load {heading} into Postgres"
    file.with_suffix(".svg").write_text(chart.bars(title, spent, marks))
    return body


def rendered(measured: dict[str, list[list[Done]]], work: Work) -> str:
    """Returns the table, cheapest first."""
    heads = ["", "wall s", "client CPU s", "server CPU s", "x floor (CPU)", "peak MB"]
    heads += [f"{work.new:,} new: wall s", "client CPU s", "server CPU s", "x floor (CPU)", "rows"]
    lines = []
    for name in sorted(measured, key=lambda name: _middle([each[0] for each in measured[name]])(_cpu)):
        cells = [f"**{name}**" if name == table.OURS else name]
        for number in (0, 1):
            syncs, floor = ([each[number] for each in measured.get(of, ())] for of in (name, table.FLOOR))
            middle = _middle(syncs)
            cells += [table.seconds(middle(which)) for which in (_wall, _client, _server)]
            cells.append(f"{middle(_cpu) / _middle(floor)(_cpu):.2f}" if floor else "")
            cells += [f"{middle(_peak):,.0f}"] if not number else []
        wrong = {one.verdict for each in measured[name] for one in each} - {"same"}
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
    # The tests' server has a zone of its own, and target-postgres stores times without one, in that of the session.
    server.execute("postgres", f"alter database {url.rpartition('/')[2]} set timezone = 'UTC'")
    try:
        yield environment(folder, vendor, work) | {"BENCH_POSTGRES": url}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        server.execute("postgres", f"drop database {url.rpartition('/')[2]} with (force)")


def _runner(
    contender: Contender, interpreter: Path, server: OwnServer, vendor: Vendor, env: dict[str, str]
) -> Callable[[str], Done]:
    def run(state: str) -> Done:
        vendor.ask(state)
        folder, before = Path(env["HOME"]), server.cpu()
        cost = measure([interpreter, HERE / contender.script], folder=folder, env=env, output=folder / "output.txt")
        spent = server.cpu() - before
        if cost.exit_code:
            print((folder / "output.txt").read_text(errors="replace")[-2_000:], file=sys.stderr)
            verdict = f"failed: exit code {cost.exit_code}"
        else:
            verdict = checks.verdict(
                _loaded(env["BENCH_POSTGRES"], *contender.queries["sequence"]), vendor.ask("counts")["truth"]
            )
        return Done(cost.wall, cost.cpu, spent, cost.peak_mb, verdict)

    return run


def _loaded(url: str, logs: str, items: str) -> dict[str, Any]:
    """Returns counts and sums, as `asked.asked` does for DuckDB, or {"error": …} when they cannot be asked for."""
    try:
        return _asked(url, logs, items)
    except psycopg2.Error as error:
        return {"error": str(error).splitlines()[0]}


def _asked(url: str, logs: str, items: str) -> dict[str, Any]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"select count(*), count(distinct a), {SUMMED} from ({LOGS.format(logs)}) as t(a, b, c)")
        row = cursor.fetchone()
        cursor.execute(f"select count(*), {SUMMED} from ({items}) as t(a, b, c)")
        names = ("logs", "distinct", "log_sum", "items", "item_sum")
        return dict(zip(names, map(int, (*row, *cursor.fetchone())), strict=True))
