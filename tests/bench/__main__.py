"""`python -m tests.bench [WHAT]`, WHAT: compare, growth, start, shards, in-dlt, wide, postgres or floors.

Contenders side by side, gapless by size, at rest, split; in-dlt is a source in a plain dlt pipeline; wide is the
memory that wide records take; postgres is the same work in Postgres, beside a floor of its own; floors is where the
CPU of a first sync goes. compare writes RESULTS.md and RESULTS.svg, the others a page of their name in capitals, and
all of them print. Ends with 1 when a contender lost a row or failed, so that nobody quotes such a figure unseen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import compare, floors, growth, in_dlt, postgres, shards, start, table, wide
from tests.bench.contenders import CONTENDERS, OMNI, SEQUENCE
from tests.bench.environments import DEFAULT_FOLDER
from tests.bench.trial import Work

HERE = Path(__file__).parent
LOGS_PER_LEAD = 20


def main() -> int:
    asked = _asked()
    if page := PAGES.get(asked.what):
        told = page(asked)
        print(told)
        return 1 if "**" in told else 0
    if asked.what == "growth":
        shapes = [asked.shape] if asked.shape else [SEQUENCE, OMNI]
        texts = [
            growth.growth(
                growth.works(shape, asked.records, asked.parents, asked.new),
                asked.rounds or 1,
                asked.venvs,
                asked.out or HERE / "GROWTH.md",
            )
            for shape in shapes
        ]
    else:
        texts = [_compared(work, asked) for work in _works(asked)]
    print("\n\n".join(texts))
    return 1 if any("**first:" in text or "**then:" in text for text in texts) else 0


def _postgres(asked: argparse.Namespace) -> str:
    work = Work(SEQUENCE, (asked.records or [100_000])[0], asked.new, 1)
    return postgres.postgres(
        work, asked.contenders, asked.rounds or 3, asked.venvs, asked.out or HERE / "POSTGRES.md"
    )


def _in_dlt(asked: argparse.Namespace) -> str:
    works = [Work(SEQUENCE, records, asked.new, 1) for records in asked.records or [20_000, 100_000]]
    return in_dlt.in_dlt(works, asked.venvs)


def _floors(asked: argparse.Namespace) -> str:
    records = (asked.records or [100_000])[0]
    return floors.floors(records, asked.rounds or 3, asked.venvs, asked.out or HERE / "FLOORS.md")


PAGES: dict[str, Callable[[argparse.Namespace], str]] = {
    "start": lambda asked: start.start(asked.rounds or 10, asked.venvs, asked.out or HERE / "START.md"),
    "shards": lambda asked: shards.shards(
        (asked.parents or [2_000])[0], LOGS_PER_LEAD, asked.out or HERE / "SHARDS.md"
    ),
    "wide": lambda asked: wide.wide((asked.records or [1_000_000])[0], asked.out or HERE / "WIDE.md"),
    "postgres": _postgres,
    "in-dlt": _in_dlt,
    "floors": _floors,
}
"""What writes each page of its own; what failed is bold there."""


def _compared(work: Work, asked: argparse.Namespace) -> str:
    rounds = asked.rounds or 1
    trials = compare.compare(work, asked.contenders, rounds, asked.venvs)
    return compare.write(work, trials, rounds, asked.out or HERE / "RESULTS.md") if trials else table.title(work)


def _works(asked: argparse.Namespace) -> list[Work]:
    shape = asked.shape or SEQUENCE
    return [
        Work(shape, records, asked.new, parents, asked.latency, asked.rate)
        for records in asked.records or [10_000]
        for parents in asked.parents or [max(1, records // LOGS_PER_LEAD) if shape == OMNI else 1]
    ]


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "what",
        nargs="?",
        choices=["compare", "growth", *PAGES],
        default="compare",
    )
    parser.add_argument("--shape", choices=[SEQUENCE, OMNI], help="compare: sequence; growth: both")
    parser.add_argument("--records", type=_numbers, default=[], help="10000,100000,…; compare: 10000")
    parser.add_argument("--parents", type=_numbers, default=[], help=f"Omni's leads; records / {LOGS_PER_LEAD}")
    parser.add_argument("--new", type=int, default=1_000, help="records that come before the second sync (1000)")
    parser.add_argument("--contenders", type=_names, default=list(CONTENDERS), help=",".join(CONTENDERS))
    parser.add_argument("--rounds", type=int, help="compare and growth: 1; start: 10")
    parser.add_argument("--latency", type=int, default=0, metavar="MS", help="before each answer")
    parser.add_argument("--rate", type=int, default=0, metavar="PER_MINUTE", help="over it: 429 with Retry-After")
    parser.add_argument("--out", type=Path, help="the page to write; the chart lies beside it")
    parser.add_argument("--venvs", type=Path, default=DEFAULT_FOLDER, help=f"environments ({DEFAULT_FOLDER})")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.replace("_", "").split(",")]


def _names(text: str) -> list[str]:
    if unknown := set(text.split(",")) - CONTENDERS.keys():
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())
