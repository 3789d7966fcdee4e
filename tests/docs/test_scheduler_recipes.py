"""The recipes for schedulers, in README.md and pipelines/docs/SCHEDULING.md, are run as their schedulers run them."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
import yaml
from croniter import croniter

from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.support.oracle import assert_exact
from tests.support.postgres import Server

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text() + (ROOT / "pipelines" / "docs" / "SCHEDULING.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
HOME = "/srv/gapless"
KEYS = "/etc/gapless.env"
CRON_PATH = "/usr/bin:/bin"
IMPORTS = shlex.quote(str(ROOT / ".ci" / "import"))
GAPLESS = f'#!/bin/sh\nPYTHONPATH={IMPORTS} exec {shlex.quote(sys.executable)} -m gapless.pipelines "$@"\n'
VENV = """\
#!/bin/sh
# In place of python3: its environments have no package index.
[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" && cp {gapless} "$3/bin/gapless" && cp {pip} "$3/bin/pip"
"""
PIP = '#!/bin/sh\nprintf "%s\\n" "$*" > pip.log\n'


def block(language: str, part: str = "") -> str:
    """The one block of a language that has `part` in it."""
    (found,) = [text for tag, text in BLOCKS if tag == language and part in text]
    return str(found)


@pytest.fixture(scope="module")
def vendors() -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Settings of somebody with keys for all four, and the imitated vendors."""
    environment = {name.upper(): value for source in SOURCES.values() for name, value in source.facts.demo.items()}
    fakes = {
        name: getattr(import_module(f"gapless.sources.{name}.fake"), f"{name.title()}Fake").demo() for name in SOURCES
    }
    with ExitStack() as stack:
        for name, fake in fakes.items():
            environment[f"{name.upper()}_BASE_URL"] = stack.enter_context(serve(fake.handle))
            environment[f"{name.upper()}_REQUESTS_PER_MINUTE"] = "100000"
        yield environment, fakes


@pytest.fixture
def one(vendors: tuple[dict[str, str], dict[str, Any]]) -> tuple[dict[str, str], dict[str, Any]]:
    """Of somebody with keys for one of them, which is enough to see a recipe work."""
    environment, fakes = vendors
    return (
        {name: value for name, value in environment.items() if name.startswith("TINES_")},
        {"tines": fakes["tines"]},
    )


@pytest.fixture
def host(tmp_path: Path) -> Callable[[str], str]:
    """`host(recipe)`: its paths lie in a temporary folder, where gapless is installed."""
    program(tmp_path / HOME[1:] / ".venv/bin/gapless", GAPLESS)
    (tmp_path / "etc").mkdir()
    return lambda recipe: recipe.replace(HOME, f"{tmp_path}{HOME}").replace(KEYS, f"{tmp_path}{KEYS}")


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """With what a daemon's child finds in its environment, and nothing of this shell's."""
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": CRON_PATH, "HOME": str(folder), "TMPDIR": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def assert_synced(file: Path, fakes: dict[str, Any]) -> None:
    with duckdb.connect(str(file), read_only=True) as database:
        for name, fake in fakes.items():
            assert_exact(database, name, fake.truth())


def every_quarter(cron: str, minutes: int = 15) -> bool:
    """Whether the ticks of a day lie so far apart."""
    ticks = croniter(cron, datetime(2026, 3, 1, tzinfo=UTC))
    times = [ticks.get_next(datetime) for _ in range(24)]
    return {after - before for before, after in pairwise(times)} == {timedelta(minutes=minutes)}


# -- cron ------------------------------------------------------------------------------------------


def test_cron(one: tuple[dict[str, str], dict[str, Any]], host: Callable[[str], str], tmp_path: Path) -> None:
    """Every quarter of an hour `sh -c` syncs into the folder's file, keys from its secrets, output into its log."""
    *fields, command = block("cron").split(maxsplit=5)
    assert every_quarter(" ".join(fields))
    environment, fakes = one
    home = tmp_path / HOME[1:]
    (home / ".dlt").mkdir()
    lines = [f'{name.lower()} = "{value}"' for name, value in environment.items()]
    (home / ".dlt" / "secrets.toml").write_text("\n".join(["[sources]", *lines]))
    done = run(["/bin/sh", "-c", host(command)], tmp_path)
    log = (home / "sync.log").read_text()
    assert (done.returncode, done.stdout) == (0, ""), log
    assert all(name in log for name in SOURCES)
    assert_synced(home / "gapless.duckdb", fakes)


# -- systemd ---------------------------------------------------------------------------------------


def unit(text: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(text)
    return parsed


def test_a_held_lock_is_no_failure_of_the_service() -> None:
    """It runs once a tick; a held lock, a partial sync and a stop are a success, a failed source is none."""
    service = unit(block("ini", "[Service]"))["Service"]
    assert (service["Type"], service["SuccessExitStatus"]) == ("oneshot", "3 75 130")


@pytest.mark.sweep
def test_systemd(one: tuple[dict[str, str], dict[str, Any]], host: Callable[[str], str], tmp_path: Path) -> None:
    """What the service starts, with the environment of its file, syncs; test_cron starts the same command."""
    environment, fakes = one
    service = unit(host(block("ini", "[Service]")))["Service"]
    Path(service["EnvironmentFile"]).write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    lines = Path(service["EnvironmentFile"]).read_text().splitlines()
    done = run(
        shlex.split(service["ExecStart"]),
        Path(service["WorkingDirectory"]),
        **dict(line.split("=", 1) for line in lines),
    )
    assert done.returncode == 0, done.stdout
    assert_synced(tmp_path / HOME[1:] / "gapless.duckdb", fakes)


def test_the_timer_is_the_services() -> None:
    """Both units have one name, and the timer is started with the machine."""
    names = re.findall(r"^# /etc/systemd/system/(\w+)\.(service|timer)$", TEXT, re.MULTILINE)
    assert names == [("gapless", "service"), ("gapless", "timer")]
    timer = unit(block("ini", "[Timer]"))
    assert timer["Timer"]["OnCalendar"] == "*:0/15"
    assert timer["Install"]["WantedBy"] == "timers.target"


@pytest.mark.peer
def test_systemd_takes_the_units(host: Callable[[str], str], tmp_path: Path) -> None:
    """systemd itself finds nothing to say about them, and the next ticks a quarter of an hour apart."""
    units = []
    for part, name in (("[Service]", "gapless.service"), ("[Timer]", "gapless.timer")):
        units.append(tmp_path / name)
        units[-1].write_text(host(block("ini", part)).replace("User=gapless", "User=root"))
    done = run(["systemd-analyze", "verify", "--man=no", *map(str, units)], tmp_path)
    said = [line for line in done.stdout.splitlines() if "gapless" in line]
    assert (done.returncode, said) == (0, []), done.stdout
    calendar = unit(block("ini", "[Timer]"))["Timer"]["OnCalendar"]
    done = run(["systemd-analyze", "calendar", "--iterations=2", calendar], tmp_path, TZ="UTC")
    ticks = [datetime.fromisoformat(t) for t in re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", done.stdout)]
    assert ticks[-1] - ticks[-2] == timedelta(minutes=15), done.stdout


# -- GitHub Actions --------------------------------------------------------------------------------


@pytest.fixture
def workflow() -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load(block("yaml", ".github/workflows/sync.yml"))
    return parsed


def test_the_workflow(workflow: dict[Any, Any]) -> None:
    """One at a time, on a schedule and by hand; every key of every source is a secret, and nothing is written."""
    (schedule,) = workflow[True]["schedule"]  # YAML 1.1 takes `on` for a flag
    assert every_quarter(schedule["cron"], 30)
    assert workflow["concurrency"] == {"group": "gapless", "cancel-in-progress": False}
    assert workflow["permissions"] == {"contents": "read"}
    needs = {need.upper() for source in SOURCES.values() for need in source.needs}
    job = workflow["jobs"]["sync"]
    expected = {name: f"${{{{ secrets.{name} }}}}" for name in (*needs, "DESTINATION__POSTGRES__CREDENTIALS")}
    assert job["env"] == expected


def steps(workflow: dict[Any, Any], folder: Path, **environment: str) -> Iterator[subprocess.CompletedProcess[str]]:
    """Each `run:` as GitHub's runner runs it: a file given to `bash -e`."""
    for number, step in enumerate(workflow["jobs"]["sync"]["steps"]):
        if "run" in step:
            script = folder / f"step-{number}.sh"
            script.write_text(step["run"])
            yield run(["bash", "-e", str(script)], folder, **environment)


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """The PATH of a runner whose python3 makes environments with gapless in them."""
    pip, gapless = program(tmp_path / "made/pip", PIP), program(tmp_path / "made/gapless", GAPLESS)
    program(tmp_path / "tools/python3", VENV.format(gapless=gapless, pip=pip))
    return {"PATH": f"{tmp_path / 'tools'}:{CRON_PATH}"}


@pytest.mark.sweep
def test_the_workflow_runs(
    workflow: dict[Any, Any],
    runner: dict[str, str],
    vendors: tuple[dict[str, str], dict[str, Any]],
    server: Server,
    tmp_path: Path,
) -> None:
    """In an empty folder, into Postgres, a source without its secrets left out; so again on the next runner."""
    environment, fakes = vendors
    keys = environment | {name: "" for name in environment if name.startswith("KIZEN_") and "MINUTE" not in name}
    database = server.database()
    for folder in (tmp_path / "one", tmp_path / "another"):
        folder.mkdir()
        url = {"DESTINATION__POSTGRES__CREDENTIALS": database}
        install, sync, status = steps(workflow, folder, **keys, **runner, **url)
        assert [done.returncode for done in (install, sync, status)] == [0, 0, 0], sync.stdout + status.stdout
        assert "kizen: skipped" in sync.stdout
        assert "tines.action_logs" in status.stdout
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from omni.runs")
        assert cursor.fetchone() == (2,)
        cursor.execute("select count(*) from tines.action_logs")
        assert cursor.fetchone() == (len(fakes["tines"].truth()["action_logs"]),)
    asked = shlex.split((tmp_path / "one" / "pip.log").read_text())
    assert asked[asked.index("-c") + 1] == "constraints.txt"
    assert asked[-1] == ".[postgres]"


@pytest.mark.parametrize(
    ("code", "ended", "said"),
    [(0, 0, ""), (3, 0, "::warning"), (75, 0, "::notice"), (1, 1, ""), (2, 2, "")],
)
def test_exit_codes_on_the_runner(
    code: int, ended: int, said: str, workflow: dict[Any, Any], runner: dict[str, str], tmp_path: Path
) -> None:
    """Partial is a warning on the run, a held lock a notice, a failure a failure."""
    program(tmp_path / "made/gapless", f"#!/bin/sh\nexit {code}\n")
    _, sync, _ = steps(workflow, tmp_path, **runner)
    assert (sync.returncode, sync.stdout.split(" ")[0].strip()) == (ended, said)


def test_every_recipe_is_tested() -> None:
    """A block of another kind would need a test here."""
    guide = re.findall(r"^```(\w+)\n", (ROOT / "pipelines" / "docs" / "SCHEDULING.md").read_text(), re.MULTILINE)
    assert guide == ["ini", "ini", "yaml", "sh", "yaml", "python", "python"]
