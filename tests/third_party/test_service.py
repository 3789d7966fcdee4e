"""The systemd units: systemd takes them, and a sync works within walls like those that the service builds."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sysconfig
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_scheduler_recipes import ROOT, assert_synced, block, one, open_to_others, program, unit, vendors
from tests.third_party.syscalls import filtered
from tests.third_party.tree import CAN_ENTER, Tree, ended

__all__ = ["one", "vendors"]
pytestmark = pytest.mark.peer
GAPLESS = """\
#!/bin/sh
PYTHONPATH=/srv/checkout/.ci/import:/srv/packages exec /usr/local/bin/python3 -m gapless.pipelines "$@"
"""
OURS, NEIGHBOUR = 10001, 10002
WORST = 20
"""Tenths of systemd's own points of exposure, from 0 to 100; the unit had 92 before it had walls."""


def asked(*command: str) -> tuple[int, str]:
    """Returns the exit code of a program of systemd, and what it says."""
    environment = {"PATH": os.environ["PATH"], "TZ": "UTC", "SYSTEMD_COLORS": "0"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
    )
    return done.returncode, done.stdout


@pytest.fixture
def units(tmp_path: Path) -> dict[str, Path]:
    """The units as files; their paths and their user are such that this machine has."""
    gapless = program(tmp_path / "gapless", "#!/bin/sh\n")
    made = {}
    for part, name in (("[Service]", "gapless.service"), ("[Timer]", "gapless.timer")):
        text = block("ini", part).replace("/srv/gapless/.venv/bin/gapless", str(gapless))
        made[name] = tmp_path / name
        made[name].write_text(text.replace("User=gapless", "User=daemon"))
    return made


def test_systemd_takes_the_units(units: dict[str, Path]) -> None:
    """systemd itself finds nothing to say about them, and the next ticks are a quarter of an hour apart."""
    code, said = asked("systemd-analyze", "verify", "--man=no", *map(str, units.values()))
    assert (code, [line for line in said.splitlines() if "gapless" in line]) == (0, []), said
    calendar = unit(block("ini", "[Timer]"))["Timer"]["OnCalendar"]
    _, said = asked("systemd-analyze", "calendar", "--iterations=2", calendar)
    ticks = [datetime.fromisoformat(t) for t in re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", said)]
    assert ticks[-1] - ticks[-2] == timedelta(minutes=15), said


def test_systemd_finds_it_little_exposed(units: dict[str, Path]) -> None:
    """Its own points; without the walls it is told as unsafe."""
    points = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={WORST}"]
    code, said = asked(*points, str(units["gapless.service"]))
    assert code == 0, said
    kept = [line for line in units["gapless.service"].read_text().splitlines() if not WALL.match(line)]
    units["gapless.service"].write_text("\n".join(kept))
    code, said = asked(*points, str(units["gapless.service"]))
    assert (code, "UNSAFE" in said) == (1, True), said


WALL = re.compile("Protect|Private|Restrict|NoNew|Capab|SystemCall|Lock|Remove|UMask")


@pytest.mark.skipif(not CAN_ENTER, reason="walls are built by root alone, with unshare")
def test_a_sync_within_the_walls(one: tuple[dict[str, str], dict[str, Any]], tmp_path: Path) -> None:
    """All but its own folder is read-only, homes are hidden, no privilege is left; a neighbour reads none of it."""
    environment, fakes = one
    service = unit(block("ini", "[Service]"))["Service"]
    home = service["WorkingDirectory"]
    state = tmp_path / "state"
    state.mkdir(mode=int(service["StateDirectoryMode"], 8))
    os.chown(state, OURS, OURS)
    binds = {
        home: (state, True),
        "/srv/checkout": (ROOT, False),
        "/srv/packages": (Path(sysconfig.get_path("purelib")), False),
    }
    tree = Tree(tmp_path / "tree", binds).planted()
    program(tree.root / "srv/gapless/.venv/bin/gapless", GAPLESS)
    allowed = filtered(service["SystemCallFilter"], service["RestrictAddressFamilies"], "/usr/local/bin/python3")
    shell = [*allowed, "/bin/sh", "-c", f"umask {service['UMask']} && exec {service['ExecStart']}"]
    variables = dict([service["Environment"].split("=", 1)]) | environment | {"PATH": "/usr/bin"}
    for _ in range(2):
        code, said = ended(tree.start(shell, variables, home, OURS))
        assert code == 0, said
    assert_synced(state / "gapless.duckdb", fakes)
    assert open_to_others(state, but=".venv") == []
    assert state.stat().st_mode & 0o777 == 0o700
    code, said = ended(tree.start(shlex.split(f"cat {home}/gapless.duckdb"), {}, "/", NEIGHBOUR))
    assert (code, "Permission denied" in said) == (1, True)
    for refused in ("touch /srv/gapless/.venv/bin/more", "unshare --user true"):
        code, said = ended(tree.start([*allowed, "/bin/sh", "-c", refused], {}, "/", OURS))
        assert (code, bool(re.search("Read-only|not permitted", said))) == (1, True), said
