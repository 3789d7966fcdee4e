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
STATE = "/var/lib/gapless"
CRON_PATH = "/usr/bin:/bin"
IMPORTS = shlex.quote(str(ROOT / ".ci" / "import"))
GAPLESS = f'#!/bin/sh\nPYTHONPATH={IMPORTS} exec {shlex.quote(sys.executable)} -m gapless.pipelines "$@"\n'
VENV = """\
#!/bin/sh
# In place of python3: its environments have no package index.
[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" && cp {gapless} "$3/bin/gapless" && cp {pip} "$3/bin/pip"
"""
PIP = '#!/bin/sh\nprintf "%s\\n" "$*" >> pip.log\nenv >> pip.env\n'


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
    return lambda recipe: re.sub(rf"(?<![\w/])(?={HOME}|{KEYS}|{STATE})", str(tmp_path), recipe)


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


@pytest.mark.slow
def test_cron(one: tuple[dict[str, str], dict[str, Any]], host: Callable[[str], str], tmp_path: Path) -> None:
    """Every quarter of an hour `sh -c` syncs into the folder's file, keys from its secrets, output into its log."""
    *fields, command = block("cron").split(maxsplit=5)
    assert every_quarter(" ".join(fields))
    environment, fakes = one
    home = tmp_path / HOME[1:]
    (home / ".dlt").mkdir()
    lines = [f'{name.lower()} = "{value}"' for name, value in environment.items()]
    (home / ".dlt" / "secrets.toml").write_text("\n".join(["[sources]", *lines]))
    (home / ".dlt" / "secrets.toml").chmod(0o600)
    done = run(["/bin/sh", "-c", host(command)], tmp_path)
    log = (home / "sync.log").read_text()
    assert (done.returncode, done.stdout) == (0, ""), log
    assert all(name in log for name in SOURCES)
    assert_synced(home / "gapless.duckdb", fakes)
    assert open_to_others(home, but=".venv") == []


def open_to_others(folder: Path, but: str) -> list[str]:
    """The files in a folder that somebody else could read or write, whatever the folders above them allow."""
    files = [path for path in folder.rglob("*") if path.is_file() and but not in path.parts]
    assert files
    return [str(file) for file in files if file.stat().st_mode & 0o077]


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


def test_the_service_has_one_folder_of_its_own() -> None:
    """It works and lives in the folder that systemd makes for it, as the user whom the commands made."""
    service = unit(block("ini", "[Service]"))["Service"]
    folder = f"/var/lib/{service['StateDirectory']}"
    assert (service["WorkingDirectory"], service["Environment"]) == (folder, f"HOME={folder}")
    made, keys = (shlex.split(line) for line in block("sh", "useradd").splitlines())
    assert (made[made.index("--home-dir") + 1], made[-1]) == (folder, service["User"])
    assert (keys[keys.index("-m") + 1], keys[-1]) == ("600", service["EnvironmentFile"])
    assert not ELSEWHERE & service.keys(), "what it may write to is its own folder alone"


ELSEWHERE = {"ReadWritePaths", "BindPaths", "CacheDirectory", "LogsDirectory", "RuntimeDirectory"}


@pytest.mark.sweep
def test_systemd(one: tuple[dict[str, str], dict[str, Any]], host: Callable[[str], str], tmp_path: Path) -> None:
    """What the service starts, with the environment of its file, syncs; tests/third_party has its walls."""
    environment, fakes = one
    service = unit(host(block("ini", "[Service]")))["Service"]
    Path(service["EnvironmentFile"]).write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    lines = Path(service["EnvironmentFile"]).read_text().splitlines()
    (folder := tmp_path / service["WorkingDirectory"][1:]).mkdir(parents=True)
    done = run(shlex.split(service["ExecStart"]), folder, **dict(line.split("=", 1) for line in lines))
    assert done.returncode == 0, done.stdout
    assert_synced(folder / "gapless.duckdb", fakes)


def test_the_timer_is_the_services() -> None:
    """Both units have one name, and the timer is started with the machine."""
    names = re.findall(r"^# /etc/systemd/system/(\w+)\.(service|timer)$", TEXT, re.MULTILINE)
    assert names == [("gapless", "service"), ("gapless", "timer")]
    timer = unit(block("ini", "[Timer]"))
    assert timer["Timer"]["OnCalendar"] == "*:0/15"
    assert timer["Install"]["WantedBy"] == "timers.target"


# -- GitHub Actions --------------------------------------------------------------------------------


@pytest.fixture
def workflow() -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load(block("yaml", ".github/workflows/sync.yml"))
    return parsed


def test_the_workflow(workflow: dict[Any, Any]) -> None:
    """One at a time, on a schedule and by hand; nothing is written, and what is used is named by its commit."""
    (schedule,) = workflow[True]["schedule"]  # YAML 1.1 takes `on` for a flag
    assert every_quarter(schedule["cron"], 30)
    assert workflow["concurrency"] == {"group": "gapless", "cancel-in-progress": False}
    job = workflow["jobs"]["sync"]
    assert (workflow["permissions"], job["permissions"]) == ({}, {"contents": "read"})
    used = [line.strip() for line in block("yaml", "sync.yml").splitlines() if "uses:" in line]
    assert len(used) == 2
    assert [
        line for line in used if not re.fullmatch(r"- uses: actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
    ] == []


def test_keys_are_on_the_step_that_syncs(workflow: dict[Any, Any]) -> None:
    """Every key of every source, there alone; the step that reads the database has its address, no other has any."""
    needs = {need.upper() for source in SOURCES.values() for need in source.needs}
    expected = {name: f"${{{{ secrets.{name} }}}}" for name in (*needs, DATABASE)}
    job = workflow["jobs"]["sync"]
    *before, sync, status = job["steps"]
    assert sync["env"] == expected
    assert status["env"] == {DATABASE: expected[DATABASE]}
    rest = {**workflow, "jobs": {"sync": {**job, "steps": before}}}
    assert "secrets" not in str(rest)


DATABASE = "DESTINATION__POSTGRES__CREDENTIALS"
SECRET = re.compile(r"\$\{\{ secrets\.(\w+) \}\}")


def steps(
    workflow: dict[Any, Any], folder: Path, secrets: dict[str, str], **environment: str
) -> Iterator[subprocess.CompletedProcess[str]]:
    """Each `run:` as GitHub's runner runs it: a file for `bash -e`, with the variables of workflow, job and step."""
    job = workflow["jobs"]["sync"]
    for number, step in enumerate(job["steps"]):
        if "run" in step:
            own = {**workflow.get("env", {}), **job.get("env", {}), **step.get("env", {})}
            shown = {name: SECRET.sub(lambda found: secrets.get(found[1], ""), text) for name, text in own.items()}
            script = folder / f"step-{number}.sh"
            script.write_text(step["run"])
            yield run(["bash", "-e", str(script)], folder, **{**environment, **shown})


def test_what_pip_runs_sees_no_key(workflow: dict[Any, Any], runner: dict[str, str], tmp_path: Path) -> None:
    """A package that somebody took over may run when it is installed: no key is in its environment."""
    secrets = {name: f"canary-{name}" for name in SECRET.findall(block("yaml", "sync.yml"))}
    assert len(secrets) == 9
    install = next(steps(workflow, tmp_path, secrets, **runner))
    assert install.returncode == 0, install.stdout
    seen = (tmp_path / "pip.env").read_text()
    assert "PATH=" in seen
    assert [name for name in secrets if f"canary-{name}" in seen] == []


def test_only_what_was_locked_is_installed(workflow: dict[Any, Any], runner: dict[str, str], tmp_path: Path) -> None:
    """pip checks each file against a hash and runs no code of a package; our own code needs nothing from outside."""
    next(steps(workflow, tmp_path, {}, **runner))
    locked, own = (tmp_path / "pip.log").read_text().splitlines()
    assert [o for o in ("--require-hashes", "--only-binary :all:", "-r requirements.txt") if o not in locked] == []
    assert [o for o in ("--no-index", "--no-deps", "--no-build-isolation") if o not in own] == []


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
        reach = {name: value for name, value in keys.items() if name.endswith(("_BASE_URL", "_MINUTE"))}
        install, sync, status = steps(workflow, folder, {**keys, DATABASE: database}, **{**reach, **runner})
        assert [done.returncode for done in (install, sync, status)] == [0, 0, 0], sync.stdout + status.stdout
        assert "kizen: skipped" in sync.stdout
        assert "tines.action_logs" in status.stdout
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from omni.runs")
        assert cursor.fetchone() == (2,)
        cursor.execute("select count(*) from tines.action_logs")
        assert cursor.fetchone() == (len(fakes["tines"].truth()["action_logs"]),)


@pytest.mark.parametrize(
    ("code", "ended", "said"),
    [(0, 0, ""), (3, 0, "::warning"), (75, 0, "::notice"), (1, 1, ""), (2, 2, "")],
)
def test_exit_codes_on_the_runner(
    code: int, ended: int, said: str, workflow: dict[Any, Any], runner: dict[str, str], tmp_path: Path
) -> None:
    """Partial is a warning on the run, a held lock a notice, a failure a failure."""
    program(tmp_path / "made/gapless", f"#!/bin/sh\nexit {code}\n")
    _, sync, _ = steps(workflow, tmp_path, {}, **runner)
    assert (sync.returncode, sync.stdout.split(" ")[0].strip()) == (ended, said)


def test_every_recipe_is_tested() -> None:
    """A block of another kind would need a test here."""
    guide = re.findall(r"^```(\w+)\n", (ROOT / "pipelines" / "docs" / "SCHEDULING.md").read_text(), re.MULTILINE)
    assert guide == [
        *["sh", "ini", "ini", "yaml", "sh", "yaml", "python"],
        *["python", "yaml", "yaml", "yaml"],
        "python",
    ]
