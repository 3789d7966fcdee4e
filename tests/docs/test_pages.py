"""The pages beside the code say what is true: commands run, queries answer as shown, lists are whole."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
import typer.main
from typer.testing import CliRunner

from gapless.pipelines.cli import completion
from gapless.pipelines.cli.app import app
from gapless.pipelines.ui import server
from gapless.pipelines.verify.verify import BY_ID, SAMPLE
from gapless.sources import SOURCES
from tests.docs.test_readme import all_commands, demo, parse, run, vendors
from tests.support.postgres import running

pytestmark = pytest.mark.xdist_group("demo")
"""What it sets up is dear: one worker has it."""
__all__ = ["demo", "vendors"]
ROOT = Path(__file__).resolve().parents[2]
NAMES = [["state"], *(list(path) for path in all_commands(typer.main.get_command(app)))]
SHOWN = 6
"""Rows of an answer in the cookbook."""


def page(path: str) -> str:
    return (ROOT / path).read_text()


TUTORIAL, COOKBOOK = page("pipelines/docs/TUTORIAL.md"), page("pipelines/docs/COOKBOOK.md")
MOVING = page("pipelines/docs/DESTINATIONS.md").split("\n## Moving to a warehouse\n")[1].split("\n## ")[0]
OF_SOURCES = {name: page(f"sources/{name}/README.md") for name in SOURCES}
PAGES = sorted(str(file.relative_to(ROOT)) for file in [*ROOT.glob("[ps]*/**/*.md"), *ROOT.glob("*.md")])
OURS = {name: page(name) for name in PAGES if not name.startswith("CHANGELOG")}


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """Its fenced blocks of these languages: language and content, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(language, block) for language, block in found if language in languages]


def lines(block: str) -> Iterator[list[str]]:
    """The words of each line of a shell block."""
    yield from (words for line in block.splitlines() if (words := shlex.split(line, comments=True)))


def commands(text: str) -> list[list[str]]:
    """Arguments of each `gapless …` in shell blocks and, unless it is just spoken of by name, in code spans."""
    shell = [words[1:] for _, block in blocks(text, "sh") for words in lines(block) if words[0] == "gapless"]
    spans = [shlex.split(span) for span in re.findall(r"`gapless (\w[^`\n]*)`", text)]
    return shell + [span for span in spans if span not in NAMES]


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_a_page_parses(name: str) -> None:
    """The CLI knows every command and option that any page shows."""
    for arguments in commands(OURS[name]):
        parse(typer.main.get_command(app), arguments)


def anchors(text: str) -> set[str]:
    """Of its headings, as GitHub spells them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", OURS)
def test_every_link_leads_somewhere(name: str) -> None:
    """To a file that is there, and to a heading that it has."""
    for path, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", OURS[name]):
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), anchor


def test_no_page_is_hidden() -> None:
    """From the README every page can be reached."""
    found, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        file = todo.pop()
        if file in found or file.suffix != ".md":
            continue
        found.add(file)
        links = re.findall(r"\]\((?!https?://)([^)#\s]+)", file.read_text())
        todo += [(file.parent / link).resolve() for link in links]
    assert {ROOT / name for name in OURS} - found == set()


# -- the tutorial ----------------------------------------------------------------------------------


def gapless(*arguments: str) -> str:
    """What it says on both streams; it must end with 0."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, f"gapless {shlex.join(arguments)}\n{done.output}"
    return done.output


def test_the_tutorial_from_keys_to_a_chart(
    vendors: dict[str, str], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands in their order, for somebody who has keys, each with the words that the page shows of its answer.

    The demo has its fixture, and the page is served in tests/integrations/test_ui.py: here it says where.
    """
    for part, instead in {"find_spec": True, "_app": None, "_serve": None}.items():
        monkeypatch.setattr(server, part, lambda *_, instead=instead: instead)
    said, ran = "", list[str]()
    for language, block in blocks(TUTORIAL, "sh", "text"):
        if language == "text":
            assert all(line in said for line in block.splitlines()), (block, said)
            continue
        said = ""
        for program, *arguments in lines(block):
            if program == "export":
                for name in (pair.partition("=")[0] for pair in arguments):
                    monkeypatch.setenv(name, vendors[name])
                    monkeypatch.setenv(reach := f"{name.partition('_')[0]}_BASE_URL", vendors[reach])
            elif program == "gapless":
                ran += arguments
                own = ["--no-browser"] if arguments == ["ui"] else []
                said += demo.name if arguments == ["demo"] else gapless(*arguments, *own)
            else:
                done = run(tmp_path, {}, *arguments)
                assert done.returncode == 0, done.stderr
                said += done.stdout
    assert ran == ["demo", "doctor", "plan", "sync", "status", "gaps", "ui"]
    assert demo.name in TUTORIAL


# -- a page per source -----------------------------------------------------------------------------


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


@pytest.mark.parametrize("name", SOURCES)
def test_every_setting_of_a_source_is_on_its_page(name: str) -> None:
    """In the table, with when to change it; and none that does not exist."""
    truth = {setting.upper() for setting in inspect.signature(SOURCES[name].build).parameters} - {"SESSION"}
    rows = re.findall(r"^\| (`[^|]*) \|", section(OF_SOURCES[name], "Settings"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(truth)
    named = re.findall(rf"`((?:{name.upper()}|GAPLESS)_[A-Z_]+)[=`]", OF_SOURCES[name])
    assert set(named) - truth == set()


@pytest.mark.parametrize("name", SOURCES)
def test_every_table_of_a_source_is_on_its_page(name: str) -> None:
    """With its key, in the order of the tree."""
    truth = {}
    for table in SOURCES[name].tables:
        for shape in table.schema.tree():
            truth[shape.name] = list(table.key) if shape.name == table.name else ["_dlt_id"]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section(OF_SOURCES[name], "Tables"), re.MULTILINE)
    assert {table: re.findall(r"`(\w+)`", key) for table, key in rows} == truth
    assert [table for table, _ in rows] == list(truth)


@pytest.mark.parametrize("name", SOURCES)
def test_the_numbers_of_a_source_are_the_codes(name: str) -> None:
    """The page names the rate budget and the page size that the code has, and what verify samples."""
    source, text = SOURCES[name], OF_SOURCES[name]
    budget = inspect.signature(source.build).parameters[f"{name}_requests_per_minute"].default
    size = getattr(source.api, "PAGE_SIZE", 500)  # of Omni the vendor's own, which is not asked for
    assert re.search(rf"\b{budget:,} requests a minute|at most {budget:,}\b", text)
    assert re.search(rf"\b{size:,} a page|{size:,} logs a page", text)
    assert name == "sequence" or f"{SAMPLE} " in text.split("gapless verify")[1]
    assert name != "sequence" or f"up to {BY_ID:,} lost" in text
    keeps = SOURCES[name].facts.keeps_days
    assert keeps is None or f"after {keeps:g} days" in text


def test_no_page_names_a_column_that_is_not_there(demo: Path) -> None:
    """`table.column` in code spans of a source's page, as privacy settings are shown."""
    with duckdb.connect(str(demo), read_only=True) as database:
        columns = "select table_schema, table_name || '.' || column_name from information_schema.columns"
        there = set(database.execute(columns).fetchall())
    for name, text in OF_SOURCES.items():
        named = re.findall(r"`(\w+\.\w+)=(?:drop|hash)`", text)
        assert named
        assert {(name, column) for column in named} - there == set()


# -- the cookbook ----------------------------------------------------------------------------------


def recipes() -> list[Any]:
    found = [block for _, block in blocks(COOKBOOK, "sql", "text")]
    titles = re.findall(r"^## \d+\. (.*)$", COOKBOOK, re.MULTILINE)
    return [pytest.param(*pair, id=title) for *pair, title in zip(found[::2], found[1::2], titles, strict=True)]


def cell(value: Any) -> str:
    """One line, without what is too small to matter."""
    if value is None:
        return ""
    if hasattr(value, "hour"):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def rendered(columns: list[str], rows: list[Any]) -> str:
    """The first rows of an answer, as the cookbook shows them."""
    table = [columns, *([cell(value) for value in row] for row in rows[:SHOWN])]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    told = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    return "\n".join([*told, *(["…"] if len(rows) > SHOWN else [])]) + "\n"


def test_there_are_twelve() -> None:
    """As many as the page promises, each with an answer."""
    assert len(recipes()) == 12


@pytest.mark.parametrize(("query", "answer"), recipes())
def test_the_cookbook_answers_as_shown(query: str, answer: str, demo: Path) -> None:
    """What DuckDB says to the query on the file that the demo leaves is what stands on the page."""
    with duckdb.connect(str(demo), read_only=True) as database:
        database.execute("set timezone = 'UTC'")
        asked = database.execute(query)
        assert rendered([column[0] for column in asked.description or []], asked.fetchall()) == answer


def test_the_cookbook_is_asked_as_shown(demo: Path) -> None:
    """The line for the shell prints a table, next to the demo's file."""
    ((_, block),) = blocks(COOKBOOK, "sh")
    (words,) = lines(block)
    done = run(demo.parent, {}, *words[1:])
    assert (done.returncode, "ada@example.com" in done.stdout) == (0, True), done.stderr


# -- moving to a warehouse -------------------------------------------------------------------------


def test_moving_to_a_warehouse(vendors: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands in their order, from a file with one source into a real Postgres: the same rows are there,
    and the file stays as it is."""
    for name, value in vendors.items():
        if name.startswith("TINES_"):
            monkeypatch.setenv(name, value)
    gapless("sync")
    file = tmp_path / "gapless.duckdb"
    before = file.read_bytes()
    with running() as server:
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url := server.database())
        ran = [arguments for _, block in blocks(MOVING, "sh") for program, *arguments in lines(block)]
        for arguments in ran[1:]:  # after the setting
            gapless(*arguments)
        count = "select source, action, count(*) from activity.timeline group by 1, 2 order by 1, 2"
        with duckdb.connect(str(file), read_only=True) as here, closing(psycopg2.connect(url)) as there:
            cursor = there.cursor()
            cursor.execute(count)
            assert sorted(here.execute(count).fetchall()) == sorted(cursor.fetchall())
    assert [arguments[0] for arguments in ran[1:]] == ["doctor", "copy", "copy", "verify", "gaps", "sync", "status"]
    assert file.read_bytes() == before


# -- what the shell offers -------------------------------------------------------------------------

DLT = """\
import os, sys
from gapless.pipelines.cli.app import app
try:
    app(prog_name="gapless")
finally:
    print({"dlt", "duckdb", "pyarrow", "httpx"} & set(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gapless sy", ["sync"]),
        ("gapless sync o", ["omni"]),
        ("gapless sync omni ", ["sequence", "kizen", "tines"]),
        ("gapless backfill k", ["kizen"]),
        ("gapless state re", ["rewind", "reset"]),
        ("gapless verify --who", ["--whole"]),
        ("gapless status --destination ", ["duckdb", "lake", "postgres", "warehouse"]),
        ("gapless copy --to ", ["lake", "postgres", "warehouse"]),
    ],
)
def test_the_shell_completes(line: str, offered: list[str], tmp_path: Path) -> None:
    """Commands, options, sources that are not on the line yet, destinations that have settings."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text('[destination.lake]\ndestination_type = "ducklake"\n')
    (tmp_path / ".dlt" / "secrets.toml").write_text('[destination.warehouse]\ncredentials = "canary"\n')
    asked = {
        "_GAPLESS_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "DESTINATION__POSTGRES__CREDENTIALS": "canary",
        "DLT_PROJECT_DIR": str(tmp_path),
    }
    done = CliRunner().invoke(app, [], env=asked, prog_name="gapless")
    assert done.stdout.split() == offered


def test_a_tab_is_instant(tmp_path: Path) -> None:
    """dlt, which takes most of a second, is not imported for it."""
    asked = {"_GAPLESS_COMPLETE": "complete_bash", "COMP_WORDS": "gapless copy --to ", "COMP_CWORD": "3"}
    done = run(tmp_path, asked | {"DESTINATION__POSTGRES__CREDENTIALS": "canary"}, "-c", DLT)
    assert (done.stdout.split(), done.stderr.strip()) == (["postgres"], "set()")


def test_a_broken_settings_file_offers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TAB says nothing of what is wrong there: a sync does."""
    (tmp_path / ".dlt").mkdir()
    for text in ("[destination.", "destination = 1", "[destination]\nduckdb = 1"):
        (tmp_path / ".dlt" / "config.toml").write_text(text)
        assert completion.destinations("") == ["duckdb"]


def test_bash_is_told_how(tmp_path: Path) -> None:
    """`--show-completion` prints a script that bash takes, and with which it asks gapless; as installed it is the
    same."""
    bash = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = run(tmp_path, bash, "-c", DLT, "--show-completion", "bash").stdout
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gapless"
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(DLT)} 2>/dev/null\n")
    program.chmod(0o755)
    asked = 'COMP_WORDS=(gapless sync o); COMP_CWORD=2; _gapless_completion gapless; echo "${COMPREPLY[@]}"'
    environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{shown}\n{asked}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "omni"), done.stderr
