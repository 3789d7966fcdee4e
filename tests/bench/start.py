"""`python -m tests.bench start`: what gapless costs before it does anything, against the imports it cannot avoid."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.bench import table
from tests.bench.contenders import CONTENDERS
from tests.bench.environments import pythons
from tests.bench.measure import Cost, measure
from tests.bench.trial import UNLIMITED, Vendor, Work, environment, served
from tests.contract.subject import subject
from tests.support.world import IN_A_HURRY, settings

BASE = "import dlt, duckdb, pyarrow"
FOUR = "gapless sync, four sources, nothing new"
WORK = Work("sequence", 1_000, 0, 1)
INTRO = """# What gapless costs before it does anything

Written by `python -m tests.bench start`: commands that find nothing new, beside the imports that no program on dlt
can avoid. Medians over the rounds, commands in turn; the first round is not counted. The four sources are the fakes
of the tests, each with some ten records.
"""


def start(rounds: int, venvs: Path, file: Path) -> str:
    """Medians of `rounds`, commands in turn; a first round is not counted: it fills the caches of files."""
    interpreter = pythons(CONTENDERS["gapless"], venvs)[""]
    command = interpreter.with_name("gapless")
    commands: dict[str, list[str | Path]] = {
        BASE: [interpreter, "-c", BASE],
        "gapless sync sequence, nothing new": [command, "sync", "sequence"],
        FOUR: [command, "sync"],
        "gapless --help": [command, "--help"],
        "python -c pass": [interpreter, "-c", "pass"],
    }
    with _one() as (folder, env), _four() as (other, of_four):
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, words in commands.items():
                where, given = (other, of_four) if name == FOUR else (folder, env)
                costs[name].append(measure(words, folder=where, env=given, output=where / "output.txt"))
    text = rendered({name: each[1:] for name, each in costs.items()})
    table.put(file, INTRO, f"{rounds} rounds", text)
    return text


@contextmanager
def _one() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder and the settings of one source."""
    folder = Path(tempfile.mkdtemp(prefix="bench-start-"))
    try:
        with served(WORK) as vendor:
            given = {"CLIENT_ID": "id", "CLIENT_SECRET": "secret", "BASE_URL": vendor.url}
            given["REQUESTS_PER_MINUTE"] = str(UNLIMITED)
            yield folder, environment(folder, vendor, WORK) | {f"SEQUENCE_{n}": text for n, text in given.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _four() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder and the settings of all sources."""
    folder = Path(tempfile.mkdtemp(prefix="bench-start-"))
    try:
        with ExitStack() as stack:
            given = {**IN_A_HURRY, **settings(SOURCES)}
            for name in SOURCES:
                url = stack.enter_context(serve(subject(name).filled().handle))
                given[f"{subject(name).prefix}_BASE_URL"] = url
            yield folder, environment(folder, Vendor(0), WORK) | given
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rendered(costs: dict[str, list[Cost]]) -> str:
    """Wall and CPU with their ratios to the imports; a command that failed says so."""
    wall = {name: median(cost.wall for cost in each) for name, each in costs.items()}
    spent = {name: median(cost.cpu for cost in each) for name, each in costs.items()}
    lines = []
    for name, each in costs.items():
        failed = " (**failed**)" if any(cost.exit_code for cost in each) else ""
        ratios = [f"{measured[name] / measured[BASE]:.2f}" for measured in (wall, spent)]
        lines.append([f"`{name}`{failed}", f"{wall[name]:.3f}", ratios[0], f"{spent[name]:.3f}", ratios[1]])
    return table.markdown(["command", "wall s", "x imports", "CPU s", "x imports"], lines)
