"""Linters and schemas that others wrote, from PyPI, each in an environment of its own outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from tests.third_party.prism import cache_of


def tool(package: str, name: str) -> str:
    """Returns the program of a package such as "zizmor==1.32.0"; pip installs it where it is not yet."""
    cache = cache_of(package)
    program = cache / "venv" / "bin" / name
    with FileLock(cache / "lock"):
        if not program.exists():
            subprocess.run([sys.executable, "-m", "venv", str(cache / "venv")], check=True)
            pip = [str(cache / "venv" / "bin" / "pip"), "install", "--quiet", "--only-binary", ":all:"]
            subprocess.run([*pip, package], check=True, env={**os.environ, "PIP_CONSTRAINT": ""})
    return str(program)


def linted(command: list[str], folder: Path) -> tuple[int, str]:
    """Returns the exit code of a linter and what it says."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr
