"""Second local users: one who attacks, and one without a home who runs gapless. Both exist by their number alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support import warm

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
ATTACKER, SERVICE = 64_301, 64_302
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a second user can be made by root alone")
# First what comes to be imported of a Python that perhaps root alone can read.
BECOME = """
import encodings.utf_8_sig, html.entities, http.server, mmap, os, pydoc
os.setgroups([]); os.setresgid({0}, {0}, {0}); os.setresuid({0}, {0}, {0})
"""
GAPLESS = "import runpy; runpy.run_module('gapless.pipelines', run_name='__main__', alter_sys=True)"


def gapless(uid: int, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `gapless …` as this user, with nothing in the environment but what is given and where programs are.

    Skips the test where nobody else can read this checkout: then such a user has no program to run.
    """
    if not all(folder.stat().st_mode & 0o005 == 0o005 for folder in (ROOT, *ROOT.parents)):
        pytest.skip(f"another user cannot read {ROOT}, and so not run gapless from there")
    env = {"PATH": os.environ["PATH"], "GAPLESS_RETRY_BUDGET": "0.05", "NO_COLOR": "1", **environment}
    command = [sys.executable, "-c", BECOME.format(uid) + GAPLESS, *arguments]
    return warm.run(command, cwd=cwd, env=env)


@contextmanager
def acting(uid: int) -> Iterator[None]:
    """The block does with files what this user can, in this thread's process: only the effective ids change."""
    groups, umask = os.getgroups(), os.umask(0)
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        os.umask(umask)


def can(uid: int, do: Callable[[], object]) -> bool:
    """Returns whether the system lets this user do that."""
    with acting(uid):
        try:
            do()
        except OSError:
            return False
    return True


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder in which everybody may make files and remove his own, as /tmp is."""
    made = Path(tempfile.mkdtemp(prefix="shared-"))
    made.chmod(0o1777)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def own(shared: Path) -> Path:
    """The folder of the user who runs gapless as a service."""
    folder = shared / "own"
    folder.mkdir(mode=0o755)
    os.chown(folder, SERVICE, SERVICE)
    return folder
