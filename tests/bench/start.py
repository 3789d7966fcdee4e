"""`python -m tests.bench start`: what gapless costs before it does anything, against the imports it cannot avoid."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from statistics import median

from tests.bench import table
from tests.bench.contenders import CONTENDERS
from tests.bench.environments import pythons
from tests.bench.measure import Cost, measure
from tests.bench.trial import UNLIMITED, Work, environment, served

BASE = "import dlt, duckdb, pyarrow"
WORK = Work("sequence", 1_000, 0, 1)


def start(rounds: int, venvs: Path) -> str:
    """Medians of `rounds`, commands in turn; a first round is not counted: it fills the caches of files."""
    interpreter = pythons(CONTENDERS["gapless"], venvs)[""]
    command = interpreter.with_name("gapless")
    commands: dict[str, list[str | Path]] = {
        BASE: [interpreter, "-c", BASE],
        "gapless sync sequence, nothing new": [command, "sync", "sequence"],
        "gapless --help": [command, "--help"],
        "python -c pass": [interpreter, "-c", "pass"],
    }
    folder = Path(tempfile.mkdtemp(prefix="bench-start-"))
    try:
        with served(WORK) as vendor:
            settings = {"CLIENT_ID": "id", "CLIENT_SECRET": "secret", "BASE_URL": vendor.url}
            settings["REQUESTS_PER_MINUTE"] = str(UNLIMITED)
            env = environment(folder, vendor, WORK) | {f"SEQUENCE_{name}": text for name, text in settings.items()}
            costs: dict[str, list[Cost]] = {name: [] for name in commands}
            for _ in range(rounds + 1):
                for name, words in commands.items():
                    costs[name].append(measure(words, folder=folder, env=env, output=folder / "output.txt"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rendered({name: each[1:] for name, each in costs.items()})


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
