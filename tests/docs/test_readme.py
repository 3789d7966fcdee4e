"""README.md, the settings files and the commands say the same, and what they say works."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
import typer.main

from gapless.pipelines.cli.app import app
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve

pytestmark = pytest.mark.xdist_group("demo")
"""What it sets up is dear: one worker has it."""
ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CONFIG = (ROOT / ".dlt" / "config.toml").read_text()
SECRETS = (ROOT / ".dlt" / "example.secrets.toml").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SET_UP = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/gapless demo",
    ".venv/bin/pip install -e '.[dev]' && .venv/bin/pytest",
)
ELSEWHERE = {"demo", "--every", "ui", "postgres"}  # has its fixture; no end; no end; a real server, in test_postgres
NOT_THERE = "--id"  # the README's id is nobody's
BESIDE_SOURCES = {
    "DESTINATION__DUCKDB__CREDENTIALS",
    "GAPLESS_DEBUG",
    "GAPLESS_HASH_KEY",
    "GAPLESS_LOG_FORMAT",
    "GAPLESS_PUBLISH",
    "GAPLESS_WEBHOOK_ON",
    "GAPLESS_WEBHOOK_URL",
}  # dlt's, the CLI's, a secret, of the whole and not of a source


def blocks(language: str) -> list[str]:
    return [text for tag, text in BLOCKS if tag == language]


def commands() -> list[tuple[str, ...]]:
    """Arguments of every `gapless …` in shell blocks, code spans, the cron line and the systemd unit; each once."""
    text = "\n".join(blocks("sh") + blocks("cron") + blocks("ini"))
    lines = re.findall(r"(?:^|/bin/)gapless (\w[^\n>]*)", text, re.MULTILINE)
    spans = re.findall(r"`gapless (\w[^`]*)`", README)
    return list(dict.fromkeys(tuple(shlex.split(line, comments=True)) for line in lines + spans))


def all_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Names of every command of the CLI, groups left out."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path
    for name, child in (below or {}).items():
        yield from all_commands(child, (*path, name))


def parse(command: Any, arguments: list[str], parent: Any = None) -> None:
    """Raises the CLI's own usage error for arguments that it would refuse; runs nothing."""
    context = command.make_context(command.name or "gapless", list(arguments), parent=parent)
    if hasattr(command, "commands"):
        _, child, rest = command.resolve_command(context, list(arguments))
        parse(child, rest, context)


def run(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process such as a newcomer's: in an empty folder, with none of this machine's settings."""
    ours = re.compile(r"(OMNI|SEQUENCE|KIZEN|TINES|GAPLESS|DESTINATION|SOURCES|NORMALIZE|RUNTIME|DLT)_")
    clean = {name: value for name, value in os.environ.items() if not ours.match(name)}
    clean |= {"PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "DLT_DATA_DIR": str(folder / "dlt")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean | environment,
        input="y\n",  # to the question of a command that asks first
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def as_written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def defaults(source: Any) -> dict[str, str]:
    """The settings of a source that are no secrets, in capitals, each with its default as the README writes it."""
    written: dict[str, str] = {}
    for name, parameter in inspect.signature(source.build).parameters.items():
        default = parameter.default
        if name in ("session", *OPTIONAL_SECRETS) or default is dlt.secrets.value:
            continue
        words = {"None": "none", str(dlt.config.value): "must be set"}
        written[name.upper()] = (
            f"{default:g}" if isinstance(default, float) else words.get(str(default), str(default))
        )
    return written


def table_settings() -> dict[str, str]:
    """Every setting of the README's settings tables, `<VENDOR>` spelt out, with its default."""
    section = README.split("\n## Settings\n")[1].split("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    found: dict[str, str] = {}
    vendors: list[str] = []
    for name, *cells in rows:
        if name == "setting":
            vendors = [cell.upper() for cell in cells if cell.lower() in SOURCES]
        elif not name.startswith("-") and vendors:
            by_vendor = dict(zip(vendors, cells, strict=False))
            found |= {name.replace("<VENDOR>", vendor): cell for vendor, cell in by_vendor.items() if cell}
        elif not name.startswith("-"):
            found[name] = cells[0]
    return found


OPTIONAL_SECRETS = ("gapless_hash_key",)


def secrets(source: Any) -> set[str]:
    parameters = inspect.signature(source.build).parameters.values()
    return {parameter.name for parameter in parameters if parameter.default is dlt.secrets.value}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database that `gapless demo` leaves in an empty folder; test_pages reads the same one."""
    folder = tmp_path_factory.getbasetemp() / "demo"
    if not folder.exists():
        folder.mkdir()
        done = run(folder, {}, "-m", "gapless.pipelines", "demo")
        assert done.returncode == 0, done.stdout + done.stderr
    (database,) = folder.glob("*.duckdb")
    return database


@pytest.fixture(scope="module")
def vendors() -> Iterator[dict[str, str]]:
    """The environment of somebody with keys for all four, the imitated vendors being the real ones."""
    environment = {name.upper(): value for source in SOURCES.values() for name, value in source.facts.demo.items()}
    with ExitStack() as stack:
        for name in SOURCES:
            fake = getattr(import_module(f"gapless.sources.{name}.fake"), f"{name.title()}Fake").demo()
            environment[f"{name.upper()}_BASE_URL"] = stack.enter_context(serve(fake.handle))
            environment[f"{name.upper()}_REQUESTS_PER_MINUTE"] = "100000"
        yield environment


@pytest.mark.parametrize("command", SET_UP)
def test_the_set_up_commands_stand_alone_and_once(command: str) -> None:
    """A newcomer finds each of the two as one line of its own."""
    assert [text for text in blocks("sh") if command in text] == [command + "\n"]
    assert README.count(command) == 1


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_in_the_readme_parses(arguments: tuple[str, ...]) -> None:
    """The CLI knows every command and option that the README shows."""
    parse(typer.main.get_command(app), list(arguments))


def test_every_command_is_documented() -> None:
    """A command that the README does not show does not exist for its reader."""
    shown = [" ".join(arguments) + " " for arguments in commands()]
    every = [" ".join(path) + " " for path in all_commands(typer.main.get_command(app))]
    assert [name for name in every if not any(line.startswith(name) for line in shown)] == []


def test_every_command_in_the_readme_runs(vendors: dict[str, str], tmp_path: Path) -> None:
    """In the README's order, for somebody with keys, they do what they say and end with 0."""
    for arguments in commands():
        if not ELSEWHERE & set(arguments):
            done = run(tmp_path, vendors, "-m", "gapless.pipelines", *arguments)
            expected = 3 if NOT_THERE in arguments else 0
            assert done.returncode == expected, f"gapless {shlex.join(arguments)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("query", blocks("sql"))
def test_every_query_answers_on_the_demo_database(query: str, demo: Path) -> None:
    """The reader sees rows, not an empty table."""
    with duckdb.connect(str(demo), read_only=True) as database:
        assert database.execute(query).fetchall()


def test_the_database_is_asked_from_the_shell_as_shown(demo: Path) -> None:
    """The line for people without a DuckDB client prints a table, next to the demo's file."""
    (line,) = re.findall(r"^\.venv/bin/python (.*)$", "\n".join(blocks("sh")), re.MULTILINE)
    done = run(demo.parent, {}, *shlex.split(line))
    assert (done.returncode, "run_id" in done.stdout) == (0, True), done.stderr


def test_every_table_of_the_readme_is_in_the_demo_database(demo: Path) -> None:
    """The list of tables is complete and holds nothing else."""
    section = README.split("\n## Tables\n")[1].split("\n- ")[0]
    rows = re.findall(r"^\| (`?\w+`?) \| (.*) \|$", section, re.MULTILINE)
    named = {schema.strip("`"): set(re.findall(r"`(\w+)`", cell)) for schema, cell in rows if schema != "schema"}
    everywhere = named.pop("each")
    with duckdb.connect(str(demo), read_only=True) as database:
        there = set(database.execute("select table_schema, table_name from information_schema.tables").fetchall())
    shown = {(schema, table) for schema, tables in named.items() for table in tables | everywhere}
    assert shown == {
        (schema, table) for schema, table in there if schema in SOURCES and not table.startswith("_dlt_")
    }


@pytest.mark.parametrize("script", blocks("python"))
def test_every_script_runs(script: str, vendors: dict[str, str], tmp_path: Path) -> None:
    """The sources work in plain dlt as shown, also the second time, and what they load is covered."""
    for _ in range(2):
        done = run(tmp_path, vendors, "-c", script)
        assert done.returncode == 0, done.stdout + done.stderr
    with duckdb.connect(str(tmp_path / "logs.duckdb"), read_only=True) as database:
        assert database.execute("select count(*) > 0 from sequence.activity_logs").fetchone() == (True,)
        assert database.execute("select count(_dlt_load_id) from sequence.coverage").fetchone() == (1,)


def test_the_settings_table_is_the_signatures() -> None:
    """Every setting stands in the README with its true default, and none that does not exist."""
    truth = {name: default for source in SOURCES.values() for name, default in defaults(source).items()}
    assert {n: d for n, d in table_settings().items() if n not in BESIDE_SOURCES} == truth
    assert table_settings().keys() >= BESIDE_SOURCES


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_config_toml_shows_every_setting_with_its_default(source: Any) -> None:
    """Uncommented it would change nothing, but for what has no default, and says so."""
    lines = re.findall(r"^# ((\w+) = .*)$", CONFIG, re.MULTILINE)
    shown = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", CONFIG, flags=re.MULTILINE))["sources"]
    common = {name: value for name, value in shown.items() if not isinstance(value, dict)}
    values = {name.upper(): value for name, value in (common | shown[source.name]).items()}
    undefined = {name.upper() for line, name in lines if "default: none" in line}
    truth = defaults(source)
    assert values.keys() == truth.keys()
    assert undefined & truth.keys() == {name for name, default in truth.items() if default in ("none", "must be set")}
    for name in truth.keys() - undefined:
        assert as_written(values[name]) == truth[name]


def test_the_example_of_secrets_is_complete() -> None:
    """Every secret has its line there and its place in the README, and nothing else has."""
    sections = tomllib.loads(SECRETS)["sources"]
    shown = {name: set(settings) for name, settings in sections.items()}
    assert shown == {name: secrets(source) for name, source in SOURCES.items()}
    assert all(f"# {name} = " in SECRETS for name in OPTIONAL_SECRETS)
    needed = re.findall(r"^\| (\w+) \| (`.*?) \| .*\|$", README.split("\n## Real keys\n")[1], re.MULTILINE)
    said = {name: set(re.findall(r"`([A-Z_]+)`", cell)) for name, cell in needed if name in SOURCES}
    assert said == {name: {need.upper() for need in source.needs} for name, source in SOURCES.items()}


def map_of_the_house() -> Iterator[str]:
    """Paths of the README's map; a line belongs below the last folder indented less, and may name files beside it."""
    folders = {-1: ""}
    for line in "".join(blocks("text")).splitlines():
        name, depth = line.split()[0], len(line) - len(line.lstrip())
        folders = {at: folder for at, folder in folders.items() if at < depth}
        home = folders[max(folders)]
        folders[depth] = home + name
        yield from (home + found for found in [name, *re.findall(r"\b\w+\.py\b", line)])


def test_the_map_of_the_house_is_true() -> None:
    """Every path on it is there, and no package or room of the near side is left out."""
    paths = set(map_of_the_house())
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    packages = {f"{path.parent.relative_to(ROOT)}/" for path in ROOT.glob("[sp]*/**/__init__.py")}
    rooms = {f"pipelines/{path.name}" for path in ROOT.glob("pipelines/[!_]*.py")}
    assert (packages | rooms) - paths == set()


def test_the_cron_line_is_a_cron_line() -> None:
    """Five fields of time, then a command that ends in a log."""
    (line,) = blocks("cron")
    assert re.fullmatch(r"(?:[\d*/,-]+ ){5}cd \S+ && \S+/gapless sync >> \S+ 2>&1\n", line)
