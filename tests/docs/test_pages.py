"""The pages beside the code say what is true: commands run, queries answer as shown, lists are whole."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
import typer.main
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.ui import server
from gapless.pipelines.verify.verify import SAMPLE
from gapless.pipelines.views.refresh import views
from gapless.sources import SOURCES
from gapless.sources.facts import Facts
from tests.docs.test_readme import (
    COMMANDS,
    NOW,
    TABLES,
    all_commands,
    answer,
    as_written,
    demo,
    parse,
    queries,
    rendered,
    run,
    secrets,
    tables,
    vendors,
)
from tests.support.postgres import Server

__all__ = ["demo", "vendors"]
ROOT = Path(__file__).resolve().parents[2]
NAMES = [["state"], *(list(path) for path in all_commands(typer.main.get_command(app)))]
TYPES = {
    "VARCHAR": "text",
    "BIGINT": "integer",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "JSON": "json",
    "TIMESTAMP WITH TIME ZONE": "time",
}
"""DuckDB's types, and how the drawings of the tables call them."""
LEDGER = {"coverage", "dead_letters", "runs", "layout"}
VENDOR_PAGE = [
    "What it reads",
    "Credentials",
    "Settings",
    "Limits",
    "Cost and schedule",
    "Late, changed and deleted records",
    "Tables",
]
LIMITS = ["requests a minute", "page size", "order", "time filter", "retention", "changes"]
"""What every vendor's page says of its vendor, first and in this order."""


def page(path: str) -> str:
    return (ROOT / path).read_text()


TUTORIAL, COOKBOOK = page("pipelines/docs/TUTORIAL.md"), page("pipelines/docs/COOKBOOK.md")
MOVING = page("pipelines/docs/DESTINATIONS.md").split("\n## Moving to a warehouse\n")[1].split("\n## ")[0]
OF_SOURCES = {name: page(f"sources/{name}/README.md") for name in SOURCES}
PAGES = sorted(str(file.relative_to(ROOT)) for file in [*ROOT.glob("[ps]*/**/*.md"), *ROOT.glob("*.md")])
OURS = {name: page(name) for name in PAGES if not name.startswith("CHANGELOG")}
LINKING = OURS | {"CHANGELOG.md": page("CHANGELOG.md")}
LINKING |= {name: page(name) for name in sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("tests/**/*.md"))}


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """Its fenced blocks of these languages: language and content, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(language, block) for language, block in found if language in languages]


def lines(block: str) -> Iterator[list[str]]:
    """The words of each command of a shell block, which may go on on the next line."""
    joined = block.replace("\\\n", " ")
    yield from (words for line in joined.splitlines() if (words := shlex.split(line, comments=True)))


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


@pytest.mark.parametrize("name", LINKING)
def test_every_link_leads_somewhere(name: str) -> None:
    """To a file or picture that is there, and to a heading that it has; in reports and the changelog, too."""
    for path, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", LINKING[name]):
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


@pytest.mark.slow
def test_the_tutorial_from_keys_to_a_chart(
    vendors: dict[str, str], demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands in their order, for somebody who has keys, each with the words that the page shows of its answer.

    The demo has its fixture, and the page is served in tests/integrations/test_ui.py: here it says where.
    """
    for part, instead in {"find_spec": True, "_app": None, "_run": None}.items():
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


def table(text: str, title: str) -> list[list[str]]:
    """Returns the rows of the one table of a section, without its header."""
    ((_, *rows),) = tables(section(text, title))
    return rows


@pytest.mark.parametrize("name", SOURCES)
def test_the_pages_of_all_sources_are_alike(name: str) -> None:
    """The same headings, and the same limits first, so that vendors can be compared."""
    assert re.findall(r"^## (.*)$", OF_SOURCES[name], re.MULTILINE) == VENDOR_PAGE
    assert [what for what, *_ in table(OF_SOURCES[name], "Limits")][: len(LIMITS)] == LIMITS


def suffixes(name: str) -> set[str]:
    """Returns the names of a source's settings without the vendor's name."""
    parameters = inspect.signature(SOURCES[name].build).parameters
    return {setting.removeprefix(f"{name}_") for setting in parameters if setting.startswith(f"{name}_")}


@pytest.mark.parametrize("name", SOURCES)
def test_every_setting_of_a_source_is_on_its_page(name: str) -> None:
    """What must be set, and what no other source has, with its default; shared ones are on the page of settings."""
    credentials = re.findall(r"`(\w+)`", " ".join(row[0] for row in table(OF_SOURCES[name], "Credentials")))
    assert credentials == [need.upper() for need in SOURCES[name].needs]
    shared = set[str]().union(*(suffixes(other) for other in SOURCES if other != name))
    own = {f"{name}_{suffix}".upper() for suffix in suffixes(name) - shared} - {
        key.upper() for key in secrets(SOURCES[name])
    }
    shown = {row[0].strip("`"): row[1] for _, *rows in tables(section(OF_SOURCES[name], "Settings")) for row in rows}
    parameters = inspect.signature(SOURCES[name].build).parameters
    defaults = {setting: parameters[setting.lower()].default for setting in own}
    assert shown == {setting: "none" if value is None else as_written(value) for setting, value in defaults.items()}
    truth = {setting.upper() for setting in parameters}
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
    """The table of limits has the rate limit, the page size and the retention that the code has."""
    source, limits = SOURCES[name], {what: value for what, value, *_ in table(OF_SOURCES[name], "Limits")}
    rate = inspect.signature(source.build).parameters[f"{name}_requests_per_minute"].default
    size = getattr(source.api, "PAGE_SIZE", 500)  # the size of Omni's pages is the vendor's own, nobody asks for it
    keeps = f"{source.facts.keeps_days:g} days" if source.facts.keeps_days else "not documented"
    for what, value in {"requests a minute": f"{rate:,}", "page size": f"{size:,}", "retention": keeps}.items():
        assert re.match(rf"{value}\b", limits[what]), what


def test_the_lines_of_facts_toml_are_explained() -> None:
    """Each with its default; and a line that is not on the page does not exist."""
    (rows,) = [rows for header, *rows in tables(page("sources/README.md")) if header[0] == "line"]
    shown = {name.strip("`"): default.strip("`") for name, default, _ in rows}
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(Facts()).items()}
    assert shown == {name: "none" if value is None else json.dumps(value) for name, value in values.items()}


def test_what_verify_compares_is_the_codes() -> None:
    """A row per source; a source with parents is sampled, the others are compared by their total."""
    (rows,) = [rows for (_, *header), *rows in tables(COMMANDS) if header[0] == "compared by default"]
    compared = {name: default for name, default, _ in rows}
    expected = {name: f"ids of {SAMPLE} {source.split_by}" for name, source in SOURCES.items() if source.split_by}
    assert compared == {name: expected.get(name, "the vendor's total") for name in SOURCES}


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
    titles = re.findall(r"^## \d+\. (.*)$", COOKBOOK, re.MULTILINE)
    return [pytest.param(*pair, id=title) for pair, title in zip(queries(COOKBOOK), titles, strict=True)]


def test_there_are_nineteen() -> None:
    """As many as the page promises, each with an answer."""
    assert len(recipes()) == len(blocks(COOKBOOK, "sql")) == 19


@pytest.mark.parametrize(("query", "shown"), recipes())
def test_the_cookbook_answers_as_shown(query: str, shown: str, demo: Path) -> None:
    """What DuckDB says to the query on the file that the demo leaves is what stands on the page."""
    assert answer(query, demo) == shown
    assert len(shown.splitlines()) > 1


@pytest.fixture(scope="module")
def on_postgres(demo: Path, server: Server) -> str:
    """The demo in a Postgres, with its views."""
    url = server.database()
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("DESTINATION__DUCKDB__CREDENTIALS", str(demo))
        settings.setenv("DESTINATION__POSTGRES__CREDENTIALS", url)
        gapless("copy", "--to", "postgres")
        gapless("views", "--destination", "postgres")
    return url


VARIANT = ("unnest(json_keys(_extra))", "jsonb_object_keys(_extra)")
"""What is written differently for Postgres, as the page says."""


@pytest.mark.slow
@pytest.mark.parametrize(("query", "shown"), recipes())
def test_the_cookbook_answers_on_postgres(query: str, shown: str, on_postgres: str) -> None:
    """The same query has the same answer there."""
    query = query.replace(*VARIANT).replace("now()", f"timestamptz '{NOW}'")
    assert f"`{VARIANT[1]}`" in COOKBOOK
    with closing(psycopg2.connect(on_postgres, options="-ctimezone=UTC")) as db, db.cursor() as cursor:
        cursor.execute(query)
        assert rendered([column[0] for column in cursor.description or []], cursor.fetchall()) == shown


@pytest.mark.slow
def test_the_cookbook_finds_something_today(tmp_path: Path) -> None:
    """Each question has an answer on a demo as a reader runs it: its newest records are of the last hour."""
    gapless("demo", "--file", str(tmp_path / "today.duckdb"))
    with duckdb.connect(str(tmp_path / "today.duckdb"), read_only=True) as database:
        assert [query for query, _ in queries(COOKBOOK) if not database.execute(query).fetchall()] == []
        newest = "max(occurred_at) between now() - interval 1 hour and now()"
        found = database.execute(f"select {newest} from activity.timeline group by source").fetchall()
        assert found == [(True,)] * len(SOURCES)


def test_the_cookbook_is_asked_as_shown(demo: Path) -> None:
    """The line for the shell prints a table with the busiest first, next to the demo's file."""
    ((_, block),) = blocks(COOKBOOK, "sh")
    (words,) = lines(block)
    done = run(demo.parent, {}, *words[1:])
    assert done.returncode == 0, done.stderr
    actors = [line for line in done.stdout.splitlines() if "@" in line]
    assert "ada@example.com" in actors[0]


# -- the tables ------------------------------------------------------------------------------------


def drawings() -> dict[str, str]:
    """Returns the drawing of each section of the page of tables."""
    titles = re.findall(r"^## (.*)$", TABLES, re.MULTILINE)
    return {title: found[0][1] for title in titles if (found := blocks(section(TABLES, title), "mermaid"))}


def drawn(drawing: str) -> dict[str, dict[str, str]]:
    """Returns the columns and types of each table of a drawing."""
    entities = re.findall(r"^    (\w+) \{\n(.*?)^    \}$", drawing, re.MULTILINE | re.DOTALL)
    return {name: {column: kind for kind, column in re.findall(r"(\w+) (\w+)", text)} for name, text in entities}


def columns(file: Path, schema: str) -> dict[str, dict[str, str]]:
    """Returns the columns and types of each table of a schema, but for dlt's and ours of the same kind."""
    found: dict[str, dict[str, str]] = {}
    select = "select table_name, column_name, data_type from information_schema.columns where table_schema = ?"
    with duckdb.connect(str(file), read_only=True) as database:
        for name, column, kind in database.execute(select, [schema]).fetchall():
            if not name.startswith("_dlt_") and not column.startswith("_"):
                found.setdefault(name, {})[column] = TYPES.get(kind, kind)
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_the_drawing_of_a_source_is_its_schema(name: str, demo: Path) -> None:
    """Every table and column with its type, and the ledger's tables in each schema; nothing else."""
    drawing = drawings()
    assert drawn(drawing[name]) | drawn(drawing["The ledger"]) == columns(demo, name)
    assert drawn(drawing["The ledger"]).keys() == LEDGER


@pytest.mark.parametrize("name", SOURCES)
def test_the_lines_of_a_drawing_join(name: str, demo: Path) -> None:
    """Each line's columns join rows, each row of the right table to one of the left; every child has its line."""
    line = r'^    (\w+) \|\|--o\{ (\w+) : "(\w+) = (\w+)"$'
    joins = re.findall(line, drawings()[name], re.MULTILINE)
    with duckdb.connect(str(demo), read_only=True) as database:
        for one, many, left, right in joins:
            join = f"from {name}.{many} as many join {name}.{one} as one on one.{left} = many.{right}"
            joined = database.execute(f"select count(*), count(distinct many._dlt_id) {join}").fetchone()
            rows = database.execute(f"select count(*), count(*) from {name}.{many}").fetchone()
            assert joined == rows, (one, many)
    children = {table for table in columns(demo, name) if "__" in table}
    assert {many for one, many, *on in joins if on == ["_dlt_id", "_dlt_parent_id"]} == children


def test_every_view_is_on_the_page(demo: Path) -> None:
    """The table of views is complete, and an arrow of the drawing leads from what a view reads to the view."""
    (rows,) = [rows for header, *rows in tables(TABLES) if header[0] == "view"]
    with duckdb.connect(str(demo), read_only=True) as database:
        select = "select view_name from duckdb_views() where schema_name = 'activity'"
        names = {name for (name,) in database.execute(select).fetchall() if name != "_made"}
    assert set(re.findall(r"`(\w+)`", " ".join(row[0] for row in rows))) == names
    reads = {(read.partition(".")[2], view.name) for view in views() for read in view.reads if "activity." in read}
    arrows = re.findall(r"^    (\w+) --> (\w+)$", drawings()["The views over all sources"], re.MULTILINE)
    assert set(arrows) == {(read, name) for read, name in reads if read != name and read in names}


def test_the_query_of_the_page_of_tables_answers(demo: Path) -> None:
    """The join rule, as it is shown."""
    ((_, query),) = blocks(TABLES, "sql")
    with duckdb.connect(str(demo), read_only=True) as database:
        assert database.execute(query).fetchall()


# -- moving to a warehouse -------------------------------------------------------------------------


@pytest.mark.sweep
def test_moving_to_a_warehouse(
    vendors: dict[str, str], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's commands in their order, from a file with one source into a real Postgres: the same rows are there,
    and the file stays as it is."""
    for name, value in vendors.items():
        if name.startswith("TINES_"):
            monkeypatch.setenv(name, value)
    gapless("sync")
    file = tmp_path / "gapless.duckdb"
    before = file.read_bytes()
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
