"""Trials as a table: medians over the rounds, ratios to the floor, and a mark on whoever lost a row. Text only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from tests.bench.trial import Sync, Trial, Work

FLOOR, OURS = "floor", "gapless"


def by_contender(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    grouped: dict[str, list[Trial]] = {}
    for each in trials:
        grouped.setdefault(each.contender, []).append(each)
    return grouped


def middle(syncs: Iterable[Sync], of: Callable[[Sync], float]) -> float:
    return median(map(of, syncs))


def cpu(syncs: Iterable[Sync]) -> float:
    return middle(syncs, lambda sync: sync.cost.cpu)


def verdict(trials: list[Trial]) -> str:
    """The word `same`, or in bold whatever was wrong in any round."""
    wrong = [
        f"{when}: {sync.verdict}"
        for each in trials
        for when, sync in (("first", each.first), ("then", each.then))
        if sync.verdict != "same"
    ]
    return f"**{'; '.join(dict.fromkeys(wrong))}**" if wrong else "same"


def sync_cells(syncs: list[Sync]) -> list[str]:
    """Wall, CPU, peak (with the number of processes it is the sum of), requests of the fewest possible."""
    peak = f"{middle(syncs, lambda sync: sync.cost.peak_mb):,.0f}"
    processes = max(sync.cost.processes for sync in syncs)
    requests, least = middle(syncs, lambda sync: sync.requests), middle(syncs, lambda sync: sync.least)
    return [
        seconds(middle(syncs, lambda sync: sync.cost.wall)),
        seconds(cpu(syncs)),
        f"{peak} (sum of {processes})" if processes > 1 else peak,
        f"{requests:,.0f}" if requests == least else f"{requests:,.0f} (least {least:,.0f})",
    ]


def results(trials: list[Trial], work: Work) -> str:
    """The table of one piece of work, cheapest first."""
    groups = by_contender(trials)
    first = {name: cpu(each.first for each in group) for name, group in groups.items()}
    heads = ["contender", "wall s", "CPU s", "peak MB", "requests", "x floor (CPU)", "x gapless (CPU)"]
    heads += [f"{work.new:,} new: wall s", "CPU s", "peak MB", "requests", "rows"]
    lines = []
    for name in sorted(groups, key=first.__getitem__):
        group = groups[name]
        ratios = [f"{first[name] / first[base]:.2f}" if base in first else "" for base in (FLOOR, OURS)]
        cells = [*sync_cells([each.first for each in group]), *ratios, *sync_cells([each.then for each in group])]
        lines.append([f"**{name}**" if name == OURS else name, *cells, verdict(group)])
    return markdown(heads, lines)


def title(work: Work) -> str:
    parts = [f"{work.shape}: {work.records:,} records"]
    if work.shape == "omni":
        parts.append(f"{work.parents:,} parents")
    if work.latency_ms:
        parts.append(f"{work.latency_ms} ms latency")
    if work.per_minute:
        parts.append(f"{work.per_minute:,} requests a minute")
    return ", ".join(parts)


def markdown(heads: list[str], lines: Iterable[list[str]]) -> str:
    """A table that reads well as plain text too."""
    rows = [heads, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def seconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def put(file: Path, intro: str, heading: str, body: str) -> None:
    """Write the section `heading` of a page, in place of the one it had; the other sections stay."""
    before = file.read_text() if file.exists() else ""
    sections = dict(part.split("\n", 1) for part in before.split("\n## ")[1:])
    sections[heading] = f"\n{body}\n"
    text = "".join(f"\n## {name}\n{kept.rstrip()}\n" for name, kept in sections.items())
    file.write_text(f"{intro.rstrip()}\n{text}")
