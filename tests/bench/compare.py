"""All contenders over the same work, in turn within a round, so that a busy minute of the machine meets them all."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.bench import chart, table
from tests.bench.contenders import CONTENDERS, Contender
from tests.bench.environments import CannotInstall, pythons
from tests.bench.trial import Trial, Work, served, trial

INTRO = """# What the same work costs

Written by `python -m tests.bench`. Every contender reads the same pages from a local server into a DuckDB file of
its own, merged by id, in its own virtual environment, configured as its own documentation advises (the script of
each is in `contenders/`); then the vendor has new records and it runs again. Medians over the rounds, contenders
in turn within a round. CPU is user and system seconds of all its processes; peak is the memory of its largest
process, or the sum when several live side by side. What was loaded is held against what was served, id by id: the
last column says `same`, or what was lost. Singer and Airbyte load items as JSON in a column of their log, the
others as rows of their own. PyAirbyte gives a declarative source no state, so its increments read everything.
"""


def compare(work: Work, names: Sequence[str], rounds: int, venvs: Path) -> list[Trial]:
    """Raises nothing for a contender that cannot be installed: it is named and left out."""
    chosen = [CONTENDERS[name] for name in names if work.shape in CONTENDERS[name].queries]
    ready = dict(installed(chosen, venvs))
    trials = []
    print(f"rendering {table.title(work)}", file=sys.stderr, flush=True)
    with served(work) as vendor:
        for number in range(rounds):
            for name, interpreters in ready.items():
                done = trial(CONTENDERS[name], interpreters, vendor, work)
                trials.append(done)
                print(f"round {number + 1} of {rounds}: {_line(done)}", file=sys.stderr, flush=True)
    return trials


def write(work: Work, trials: list[Trial], rounds: int, file: Path) -> str:
    """The table, printed by the caller too; the chart lies beside the page."""
    heading, body = table.title(work), table.results(trials, work)
    how = f"Medians of {rounds} rounds." if rounds > 1 else "One round."
    table.put(file, INTRO, heading, f"{how}\n\n{body}")
    groups = table.by_contender(trials)
    spent = {name: table.cpu(each.first for each in group) for name, group in groups.items()}
    floor = spent.get(table.FLOOR)
    marks = {name: f"({value / floor:.1f} x floor)" for name, value in spent.items()} if floor else {}
    for name, group in groups.items():
        if table.verdict(group) != "same":
            marks[name] = f"{marks.get(name, '')} not all rows"
    file.with_suffix(".svg").write_text(chart.bars(f"CPU seconds to load {heading}", spent, marks))
    return f"{heading}\n\n{body}"


def installed(contenders: Iterable[Contender], venvs: Path) -> Iterator[tuple[str, dict[str, Path]]]:
    """Yields those that can be installed, by name, with their interpreters; says which cannot, and why."""
    for contender in contenders:
        try:
            yield contender.name, pythons(contender, venvs)
        except CannotInstall as error:
            print(f"{contender.name} is left out, it cannot be installed:\n{error}", file=sys.stderr)


def _line(done: Trial) -> str:
    texts = [f"{done.contender:<13}"]
    for sync in (done.first, done.then):
        cost = sync.cost
        texts.append(f"{cost.wall:7.2f} s wall {cost.cpu:7.2f} s CPU {cost.peak_mb:6.0f} MB {sync.verdict}")
    return " | ".join(texts)
