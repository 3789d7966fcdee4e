"""`.ci/audit` fails for a published weakness, and says plainly when it could not look."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOOKED = {"name": "django", "version": "1.11.0", "vulns": [{"id": "PYSEC-1"}]}
FINE = {"name": "duckdb", "version": "1.5.5", "vulns": []}
WEAK = {"name": "jinja2", "version": "3.1.6", "vulns": [{"id": "PYSEC-2"}, {"id": "PYSEC-3"}]}
SKIPPED = {"name": "dlt", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([LOOKED, FINE], 0, "audited 1 of 1 versions"),
        ([LOOKED, FINE, SKIPPED], 0, "audited 1 of 2 versions, not dlt"),
        ([LOOKED, FINE, WEAK], 1, "audited 2 of 2 versions\nWEAK: jinja2 3.1.6: PYSEC-2, PYSEC-3"),
        ([SKIPPED], 0, "NOT AUDITED: the data about weaknesses cannot be reached from here"),
        ([{**LOOKED, "vulns": []}, FINE], 0, "NOT AUDITED: the data about weaknesses cannot be reached from here"),
        (None, 0, "NOT AUDITED: the data about weaknesses cannot be reached from here"),
    ],
)
def test_what_an_audit_says(found: list[dict[str, Any]] | None, code: int, said: str, tmp_path: Path) -> None:
    """By what pip-audit answers: a document, which may lack all, or a traceback; it is asked for every version."""
    (tmp_path / "document").write_text("Traceback" if found is None else json.dumps({"dependencies": found}))
    program = tmp_path / "pip-audit"
    program.write_text(f'#!/bin/sh\ncd {tmp_path}\ncp "${{10}}" versions\ncat document\nexit 1\n')
    program.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "audit"],
        env={**os.environ, "PIP_AUDIT": str(program)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (code, said), done.stderr
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    assert set(pinned) < set((tmp_path / "versions").read_text().splitlines())
