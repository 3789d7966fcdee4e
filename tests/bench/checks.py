"""Whether a contender loaded what was served: the file's counts and sums against the vendor's `Truth`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.environments import ROOT


def loaded(file: Path, logs: str, items: str) -> dict[str, Any]:
    """Counts and sums, or {"error": …} when the file cannot be asked."""
    command = [sys.executable, "-m", "tests.bench.asked", str(file), logs, items]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": next((line for line in done.stderr.splitlines() if "Error: " in line), "unreadable")}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def verdict(found: dict[str, Any], truth: dict[str, int]) -> str:
    """The word `same`, or what is wrong."""
    if "error" in found:
        return str(found["error"])
    wrong = []
    if lost := truth["logs"] - found["distinct"]:
        wrong.append(f"lost {lost:,} of {truth['logs']:,} logs" if lost > 0 else f"{-lost:,} logs too many")
    if twice := found["logs"] - found["distinct"]:
        wrong.append(f"{twice:,} logs twice")
    if found["items"] != truth["items"]:
        wrong.append(f"{found['items']:,} of {truth['items']:,} items")
    if not wrong and (found["log_sum"], found["item_sum"]) != (truth["log_sum"], truth["item_sum"]):
        wrong.append("values differ")
    return ", ".join(wrong) or "same"
