"""`python -m tests.lab.damage`: every kind of damage on every registered source, on DuckDB or Postgres."""

from __future__ import annotations

import argparse
import gc
import sys
from contextlib import ExitStack

from gapless.sources import SOURCES
from gapless.sources.source import Source
from tests.lab.damage.kinds import KINDS
from tests.lab.damage.trial import Verdict, lab
from tests.support.postgres import running


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--destination", choices=("duckdb", "postgres"), default="duckdb")
    parser.add_argument("--source", action="append", help="Default: all, and the fifth one.")
    parser.add_argument("--kind", default="", help="Only kinds with this in their name.")
    parser.add_argument("--syncs", type=int, default=0, help="Scheduled syncs that come first.")
    parser.add_argument("--between", default="", help="Jobs that come first, of: backfill since id shards.")
    chosen = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    SOURCES.setdefault("okta", Source.at("tests.fifth.okta"))
    found: list[Verdict] = []
    with ExitStack() as stack:
        server = stack.enter_context(running()) if chosen.destination == "postgres" else None
        for name in chosen.source or SOURCES:
            with lab(name, server) as here:
                for kind in KINDS:
                    if chosen.kind in kind.name and kind.applies(here.place):
                        found.append(here.tried(kind, chosen.syncs, chosen.between))
                        _say(found[-1])
    bad = [one for one in found if one.wrong]
    seen = sum(bool(one.seen) for one in found)
    harmless = sum(one.harmless for one in found)
    print(
        f"{len(found)} damages of {len({one.kind for one in found})} kinds: {seen} seen, {harmless} harmless,"
        f" {len(found) - len(bad)} mended and silent, {len(bad)} not"
    )
    return bool(bad)


def _say(one: Verdict) -> None:
    print(
        f"{'WRONG' if one.wrong else 'ok   '} {one.source:9} {one.kind}: seen by {', '.join(one.seen) or '-'}", end=""
    )
    print(f"; ran {' ; '.join(one.ran) or '-'}" + "".join(f"\n      {text}" for text in one.wrong), flush=True)


if __name__ == "__main__":
    sys.exit(main())
