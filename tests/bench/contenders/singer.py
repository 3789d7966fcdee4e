"""A Singer run: `tap | target`, each in its own environment, and the last state the target wrote kept for the next.

https://github.com/jwills/target-duckdb (minimal settings; "run tap and targets in separate virtual environments"),
https://github.com/MeltanoLabs/target-postgres (sqlalchemy_url, default_target_schema; upsert is its default)
https://hub.meltano.com/singer/spec (state is what the target emits once it has flushed)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TAP = Path(__file__).with_name("singer_tap.py")
STATE = Path("state.json")


def main() -> int:
    Path("tap.json").write_text(json.dumps({"url": os.environ["BENCH_URL"]}))
    url = os.environ.get("BENCH_POSTGRES")
    name = "target-postgres" if url else "target-duckdb"
    where = (
        {"sqlalchemy_url": url.replace("postgresql:", "postgresql+psycopg:")} if url else {"path": "loaded.duckdb"}
    )
    Path("target.json").write_text(json.dumps({**where, "default_target_schema": "bench"}))
    state = ["--state", STATE] if STATE.exists() else []
    target_command = Path(os.environ["BENCH_TARGET_PYTHON"]).with_name(name)
    with (
        subprocess.Popen([sys.executable, TAP, "--config", "tap.json", *state], stdout=subprocess.PIPE) as tap,
        subprocess.Popen(
            [target_command, "--config", "target.json"], stdin=tap.stdout, stdout=subprocess.PIPE, text=True
        ) as target,
    ):
        states = target.communicate()[0].split("\n")
    if emitted := [line for line in states if line.strip()]:
        STATE.write_text(emitted[-1])
    return tap.returncode or target.returncode


if __name__ == "__main__":
    sys.exit(main())
