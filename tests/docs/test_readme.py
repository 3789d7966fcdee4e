"""README.md, the reference pages, the settings files and the commands say the same, and what they say works."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
import typer.main
from typer.testing import CliRunner

from gapless.pipelines.cli import output
from gapless.pipelines.cli.app import app
from gapless.pipelines.cli.render import proofs
from gapless.sources import SOURCES
from gapless.sources._http.testing import serve
from tests.commands.test_demo import NOW, once_run
from tests.docs.pictures import PICTURE, picture
from tests.support import warm
from tests.support.shared import once

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "pipelines" / "docs"
COMMANDS = (DOCS / "COMMANDS.md").read_text()
SETTINGS_PAGE = (DOCS / "SETTINGS.md").read_text()
TABLES = (DOCS / "TABLES.md").read_text()
HOUSE = (DOCS / "HOUSE.md").read_text()
OF_SOURCES = (ROOT / "sources" / "README.md").read_text()
CONFIG = (ROOT / ".dlt" / "config.toml").read_text()
SECRETS = (ROOT / ".dlt" / "example.secrets.toml").read_text()
SET_UP = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/gapless demo",
    ".venv/bin/pip install -e '.[dev]' && .venv/bin/pytest",
)
ELSEWHERE = {"demo", "init", "--every", "ui", "postgres", "SOURCE", "OLD", "NAME"}
"""Has its fixture; asks questions, in test_init; no end; no end; a real server, in test_postgres; placeholders."""
SHOWN = 6
"""Rows of an answer on a page."""
BESIDE_SOURCES = {
    "DESTINATION__DUCKDB__CREDENTIALS",
    "GAPLESS_DEBUG",
    "GAPLESS_ERASURE_KEY",
    "GAPLESS_HASH_KEY",
    "GAPLESS_LOG_FORMAT",
    "GAPLESS_PUBLISH",
    "GAPLESS_PUBLISH_MODE",
    "GAPLESS_SOURCES",
    "GAPLESS_UI_TOKEN",
    "GAPLESS_WEBHOOK_ON",
    "GAPLESS_WEBHOOK_URL",
}  # dlt's, the CLI's, a secret, of the whole and not of a source


def blocks(page: str, *languages: str) -> list[str]:
    """Returns the contents of a page's fenced blocks in these languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [text for tag, text in found if tag in languages]


def commands(pages: tuple[str, ...] = (README, COMMANDS)) -> list[tuple[str, ...]]:
    """Returns the arguments of every `gapless …` of the README and the page of commands, each once."""
    found: list[str] = []
    for page in pages:
        text = "\n".join(blocks(page, "sh", "cron"))
        found += re.findall(r"(?:^|/bin/)gapless (\w[^\n>]*)", text, re.MULTILINE)
        found += re.findall(r"`gapless (\w[^`]*)`", page)
    return list(dict.fromkeys(tuple(shlex.split(line, comments=True)) for line in found))


def exit_code(arguments: tuple[str, ...]) -> int:
    """Returns how a command of the pages ends for somebody with keys for all."""
    if arguments[0] == "forget" or arguments[:2] == ("state", "drop"):
        return 2  # nothing has the id that the page shows; no dataset is deleted while it is synced
    return 3 if "--id" in arguments else 0


def queries(page: str) -> list[tuple[str, str]]:
    """Returns the SQL blocks of a page, each with the text block that follows it and shows the answer."""
    return re.findall(r"^```sql\n([^`]*)^```\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def cell(value: Any) -> str:
    """Returns a value in one line, times in whole seconds."""
    if value is None:
        return ""
    if hasattr(value, "hour"):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def rendered(columns: list[str], rows: list[Any]) -> str:
    """Returns the first rows of an answer as the pages show them."""
    table = [columns, *([cell(value) for value in row] for row in rows[:SHOWN])]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    return "\n".join([*lines, *(["…"] if len(rows) > SHOWN else [])]) + "\n"


def answer(query: str, file: Path) -> str:
    """Returns what DuckDB answers at the time of the demo, as the pages show it."""
    query = query.replace("now()", f"timestamptz '{NOW}'")
    with duckdb.connect(str(file), read_only=True) as database:
        database.execute("set timezone = 'UTC'")
        asked = database.execute(query)
        return rendered([column[0] for column in asked.description or []], asked.fetchall())


def tables(page: str) -> list[list[list[str]]]:
    """Returns the tables of a page as rows of cells; the header is the first row, the rule below it is left out."""
    found = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    split = [[[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()] for table in found]
    return [[header, *rows] for header, _, *rows in split]


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


def run(
    folder: Path, environment: dict[str, str], *arguments: str, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """A Python process such as a newcomer's: in an empty folder, with none of this machine's settings.

    `fresh`: with nothing imported yet.
    """
    ours = re.compile(r"(OMNI|SEQUENCE|KIZEN|TINES|GAPLESS|DESTINATION|SOURCES|NORMALIZE|RUNTIME|DLT)_")
    clean = {name: value for name, value in os.environ.items() if not ours.match(name)}
    clean |= {"NO_PROXY": "127.0.0.1", "DLT_DATA_DIR": str(folder / "dlt")}
    yes = "y\n"  # to the question of a command that asks first
    if fresh:
        command, clean = [sys.executable, *arguments], clean | {"PYTHONPATH": str(ROOT)}
        how: dict[str, Any] = {"cwd": folder, "env": clean | environment, "capture_output": True, "text": True}
        return subprocess.run(command, **how, input=yes, timeout=60, check=False)
    return warm.run([sys.executable, *arguments], cwd=folder, env=clean | environment, input=yes)


def as_written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def defaults(source: Any) -> dict[str, str]:
    """The settings of a source that are no secrets, in capitals, each with its default as the README writes it."""
    written: dict[str, str] = {}
    for name, parameter in inspect.signature(source.build).parameters.items():
        default = parameter.default
        argument = "NotResolved" in str(parameter.annotation)  # of a caller, which dlt looks for nowhere
        if argument or name in ("session", *OPTIONAL_SECRETS) or default is dlt.secrets.value:
            continue
        words = {"None": "none", str(dlt.config.value): "must be set"}
        written[name.upper()] = (
            f"{default:g}" if isinstance(default, float) else words.get(str(default), str(default))
        )
    return written


def table_settings() -> dict[str, str]:
    """Returns every setting of the settings page, `<VENDOR>` spelt out, with its default."""
    found: dict[str, str] = {}
    for (_, *header), *rows in tables(SETTINGS_PAGE):
        if header[-1] != "what it does":
            continue
        vendors = [title.upper() for title in header[:-1]]
        for setting, *cells in ([cell.strip("`") for cell in row] for row in rows):
            if vendors == ["DEFAULT"]:
                found[setting] = cells[0]
            else:
                by_vendor = zip(vendors, cells, strict=False)
                found |= {setting.replace("<VENDOR>", vendor): cell for vendor, cell in by_vendor if cell}
    return found


OPTIONAL_SECRETS = ("gapless_hash_key",)


def secrets(source: Any) -> set[str]:
    parameters = inspect.signature(source.build).parameters.values()
    return {parameter.name for parameter in parameters if parameter.default is dlt.secrets.value}


@pytest.fixture(scope="session")
def demo() -> Path:
    """The database that `gapless demo` leaves; every worker reads the same one."""
    return Path(once("demo", once_run)["file"])


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
    assert [text for text in blocks(README, "sh") if command in text] == [command + "\n"]
    assert README.count(command) == 1


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_in_the_readme_parses(arguments: tuple[str, ...]) -> None:
    """The CLI knows every command and option that the README and the page of commands show."""
    parse(typer.main.get_command(app), list(arguments))


def test_every_command_is_documented() -> None:
    """A command that neither page shows does not exist for their reader."""
    shown = [" ".join(arguments) + " " for arguments in commands()]
    every = [" ".join(path) + " " for path in all_commands(typer.main.get_command(app))]
    assert [name for name in every if not any(line.startswith(name) for line in shown)] == []


@pytest.mark.parametrize("pages", [[README], pytest.param([README, COMMANDS], marks=pytest.mark.sweep)], ids=len)
def test_every_command_in_the_readme_runs(pages: list[str], vendors: dict[str, str], tmp_path: Path) -> None:
    """In the pages' order, for somebody with keys, they do what they say and end as they should."""
    for arguments in commands(tuple(pages)):
        if not ELSEWHERE & set(arguments):
            done = run(tmp_path, vendors, "-m", "gapless.pipelines", *arguments)
            said = f"gapless {shlex.join(arguments)}\n{done.stdout}{done.stderr}"
            assert done.returncode == exit_code(arguments), said


def test_there_is_a_question() -> None:
    """The query of the README has its answer below it."""
    assert len(queries(README)) == len(blocks(README, "sql")) == 1


@pytest.mark.parametrize(("query", "shown"), queries(README))
def test_a_question_of_the_readme_is_answered_as_shown(query: str, shown: str, demo: Path) -> None:
    """On the file that the demo leaves."""
    assert answer(query, demo) == shown


def test_the_gaps_are_reported_as_shown(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's picture of `gapless gaps` is what it prints about an interrupted walk and an action that fails."""
    shutil.copy(demo, tmp_path / "gapless.duckdb")
    interval = '[["2025-06-01T00:00:00+00:00", "2025-09-12T08:30:00+00:00"]]'
    with duckdb.connect(str(tmp_path / "gapless.duckdb")) as database:
        database.execute("update sequence.coverage set missing = ?", [interval])
        database.execute(
            "update tines.coverage set failures = 2, covered_to = '2026-03-02 09:12:34+00',"
            " error = 'GET /api/v1/actions/703/logs answered 500: the vendor could not answer' where parent = '703'"
        )
        database.execute(
            "insert into tines.dead_letters by name select 'action_logs' as stream, 'parent' as kind, '703' as key,"
            " 'x' as reason, 2 as attempts, timestamptz '2026-03-02 09:15:00+00' as first_seen_at,"
            " now() as last_seen_at, 'x' as _dlt_id, 'x' as _dlt_load_id"
        )
    monkeypatch.setattr(output, "LOG_WIDTH", 118)
    monkeypatch.setattr(
        proofs, "datetime", type("Later", (), {"now": lambda zone: datetime(2026, 3, 2, 10, tzinfo=zone)})
    )
    done = CliRunner().invoke(app, ["gaps"])
    (shown,) = [text for text in blocks(README, "text") if text.startswith("$ gapless gaps\n")]
    assert (done.exit_code, shown) == (3, "$ gapless gaps\n" + re.sub(" +$", "", done.stdout, flags=re.MULTILINE))


def test_the_database_is_asked_from_the_shell_as_shown(demo: Path) -> None:
    """The line for people without a DuckDB client prints a table, next to the demo's file."""
    (line,) = re.findall(r"^\.venv/bin/python (.*)$", "\n".join(blocks(README, "sh")), re.MULTILINE)
    done = run(demo.parent, {}, *shlex.split(line))
    assert (done.returncode, "run_id" in done.stdout) == (0, True), done.stderr


def test_a_source_runs_in_plain_dlt(vendors: dict[str, str], tmp_path: Path) -> None:
    """As shown, also the second time, and what it loads is covered."""
    (script,) = [text for text in blocks(OF_SOURCES, "python") if "dlt.pipeline(" in text]
    for _ in range(2):
        done = run(tmp_path, vendors, "-c", script)
        assert done.returncode == 0, done.stdout + done.stderr
    with duckdb.connect(str(tmp_path / "logs.duckdb"), read_only=True) as database:
        assert database.execute("select count(*) > 0 from sequence.activity_logs").fetchone() == (True,)
        assert database.execute("select count(_dlt_load_id) from sequence.coverage").fetchone() == (1,)


def test_the_settings_table_is_the_signatures() -> None:
    """Every setting stands on its page with its true default, and none that does not exist."""
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
    (keys,) = [rows for header, *rows in tables(README) if header[0] == "source"]
    said = {name: set(re.findall(r"`([A-Z_]+)`", needed)) for name, needed, _ in keys}
    assert said == {name: {need.upper() for need in source.needs} for name, source in SOURCES.items()}


def map_of_the_house() -> Iterator[str]:
    """Paths of the map; a line belongs below the last folder indented less, and may name files beside it."""
    folders = {-1: ""}
    for line in "".join(blocks(HOUSE, "text")).splitlines():
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
    (line,) = blocks(README, "cron")
    assert re.fullmatch(r"(?:[\d*/,-]+ ){5}cd \S+ && umask 077 && \S+/gapless sync >> \S+ 2>&1\n", line)


def test_the_picture_of_the_demo_is_not_old() -> None:
    """It shows what the demo prints; `python -m tests.docs.pictures` draws it anew."""
    assert PICTURE.read_text() == picture(once("demo", once_run)["told"])
    assert "](pipelines/docs/demo.svg)" in README
    assert re.findall(r"https?://(?!www\.w3\.org/)[^\s\"<]+", PICTURE.read_text()) == []
