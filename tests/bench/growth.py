"""`python -m tests.bench growth`: what gapless costs as the history grows, and whether an increment notices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.bench import table
from tests.bench.compare import compare
from tests.bench.trial import Trial, Work

RECORDS, PARENTS = (10_000, 100_000, 1_000_000), (10, 1_000, 10_000)
LOGS_PER_PARENT = 20
NAME = "gapless"
INTRO = """# What gapless costs as history grows

Written by `python -m tests.bench growth`: `gapless sync` of each source from nothing, then once more after new
records came, from a local server without latency or rate limit. CPU per 1,000 is of the first sync. The ratio is
the increment's CPU to that of the smallest history. Omni has one request per lead and no way to ask only for what
is new: there an increment's requests follow the number of leads.
"""


def works(shape: str, records: Sequence[int], parents: Sequence[int], new: int) -> list[Work]:
    if shape == "omni":
        return [Work("omni", each * LOGS_PER_PARENT, new, each) for each in parents or PARENTS]
    return [Work("sequence", each, new, 1) for each in records or RECORDS]


def growth(todo: list[Work], rounds: int, venvs: Path, file: Path) -> str:
    """Measures each size and writes its source's table."""
    measured = [(work, compare(work, [NAME], rounds, venvs)) for work in todo]
    heading, body = todo[0].shape, rendered(measured)
    table.put(file, INTRO, heading, body)
    return f"{heading}\n\n{body}"


def rendered(measured: list[tuple[Work, list[Trial]]]) -> str:
    new = measured[0][0].new
    heads = ["records", "parents", "wall s", "CPU s", "peak MB", "requests", "CPU ms per 1,000"]
    heads += [f"{new:,} new: wall s", "CPU s", "peak MB", "requests", "x smallest", "rows"]
    least = table.cpu(each.then for each in measured[0][1])
    lines = []
    for work, trials in measured:
        first, then = [each.first for each in trials], [each.then for each in trials]
        per_thousand = f"{table.cpu(first) / work.records * 1_000_000:,.0f}"
        ratio = f"{table.cpu(then) / least:.2f}"
        parents = f"{work.parents:,}" if work.shape == "omni" else ""
        cells = [*table.sync_cells(first), per_thousand, *table.sync_cells(then), ratio]
        lines.append([f"{work.records:,}", parents, *cells, table.verdict(trials)])
    return table.markdown(heads, lines)
