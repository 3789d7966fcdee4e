"""Imports go one way, rooms stay small, and each thing stands in the one file where a reader looks for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from gapless.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("sources/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
FOLDERS = sorted({file.parent for file in FILES})
VENDOR_FILES = {"__init__.py", "api.py", "models.py", "fake.py"}

MOST_FLOORS, MOST_MODULES = 12, 12
MAY_IMPORT = {
    # sources
    "sources._files": "",
    "sources._http": "",
    "sources._schema": "",
    "sources._dlt": "",
    "sources._ledger": "_http _schema _dlt",
    "sources._incremental": "_http _schema _dlt _ledger",
    "sources._extract": "_files _http _schema _dlt _ledger _incremental",
    "sources": "_files _http _schema _incremental",  # for its types, and to know which files count
    "vendor": "_http _schema _ledger _incremental _extract",  # and itself
    # pipelines; each may import of `sources` what is left of the bar, and of `pipelines` what is right of it
    "pipelines.config": "_files | errors",
    "pipelines.database_errors": "|",
    "pipelines.shortage": "|",
    "pipelines.printable": "|",
    "pipelines.errors": "_http | database_errors printable shortage",
    "pipelines.outcome": "_ledger | errors printable evidence",
    "pipelines.destinations": "sources _files _dlt _schema _ledger | config database_errors errors printable",
    "pipelines.secret_forms": "|",
    "pipelines.secret_settings": "sources | errors destinations",
    "pipelines.redaction": "| database_errors errors printable destinations secret_forms secret_settings",
    "pipelines.json_logs": "| database_errors errors redaction",
    "pipelines.views": "sources _dlt _schema _ledger _extract | errors printable destinations",
    "pipelines.dictionary": "sources _dlt _schema _ledger _extract | errors views",
    "pipelines.evidence": "sources _http _dlt _schema _ledger _extract | config errors printable destinations",
    "pipelines.erasure": "sources _dlt _schema _ledger _extract | config errors printable destinations evidence",
    "pipelines.layout": "sources _dlt _schema _ledger _extract | errors destinations evidence views",
    "pipelines.sync": (
        "sources _http _dlt _schema _ledger _extract"
        " | config errors printable outcome destinations evidence erasure views layout"
    ),
    "pipelines.ledger": (
        "sources _dlt _schema _ledger _extract | config errors destinations evidence erasure layout sync"
    ),
    "pipelines.verify": (
        "sources _http _dlt _schema _ledger _incremental | errors printable outcome destinations evidence sync ledger"
    ),
    "pipelines.destination_copy": (
        "sources _dlt _schema _ledger _extract"
        " | config errors outcome destinations evidence erasure views layout sync ledger"
    ),
    "pipelines.maintenance": (
        "sources _http _dlt _schema _ledger _extract | errors destinations evidence erasure views"
    ),
    "pipelines.observability": (
        "sources _http _ledger | errors printable outcome redaction destinations evidence sync ledger"
    ),
    "pipelines.ui": "sources _schema | errors printable redaction destinations evidence views",
    "pipelines.mcp_server": (
        "sources | database_errors errors printable outcome redaction destinations evidence views ui"
    ),
    "pipelines.cli": (
        "sources _files _http _dlt _schema _ledger | config errors printable outcome redaction json_logs destinations"
        " dictionary evidence erasure views sync ledger verify destination_copy maintenance observability ui"
        " mcp_server"
    ),
    "pipelines.integrations": (
        "sources _schema _ledger | config errors outcome redaction destinations sync ledger cli"
    ),
}
"""Which rooms a room may import, wherever in its files and also for types alone.

A room is a folder with all below it; a module that stands in `pipelines/` itself is one, too. `vendor` is each folder
of a source.
"""


def module(file: Path) -> str:
    """Returns the dotted name of a file, without `gapless`."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(file): file for file in FILES}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(file: Path) -> Iterator[str]:
    """Yields what a file imports, wherever in it: modules, and `module.name` for what is taken from one."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(file: Path) -> set[str]:
    """Returns our own modules that a file imports."""
    found = set()
    for name in (name.removeprefix("gapless.") for name in imports(file) if name.startswith("gapless.")):
        found.add(name if name in MODULES else name.rpartition(".")[0])
    return found - {module(file)}


def called(file: Path) -> set[str]:
    """Returns the names of what a file calls."""
    calls = [node.func for node in ast.walk(tree(file)) if isinstance(node, ast.Call)]
    return {ast.unparse(call) for call in calls}


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def room(name: str) -> str:
    """Returns the room of a module."""
    top, _, rest = name.partition(".")
    first = rest.split(".")[0]
    if top == "sources":
        return "vendor" if first in SOURCES else f"sources.{first}" if first.startswith("_") else "sources"
    return "pipelines.cli" if first == "__main__" else f"pipelines.{first}"


def allowed(name: str) -> set[str]:
    """Returns the rooms that a room may import."""
    ours, _, theirs = MAY_IMPORT[name].partition("|")
    sources = {one if one == "sources" else f"sources.{one}" for one in ours.split()}
    return sources | {f"pipelines.{one}" for one in theirs.split()}


def test_imports_go_one_way() -> None:
    """A room imports itself and the rooms that the table allows; a vendor imports no other vendor."""
    found = {name: wrong_imports(name, file) for name, file in MODULES.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def wrong_imports(own: str, file: Path) -> list[str]:
    """Returns what a module may not import: bare names of our folders, rooms that the table does not allow it."""
    folder = ".".join(own.split(".")[:2])
    bare = [name for name in imports(file) if within(name, "sources", "pipelines", "tests")]
    rooms = allowed(room(own)) if own != "pipelines" else set()
    mine = (lambda name: within(name, folder)) if room(own) == "vendor" else (lambda name: room(name) == room(own))
    return bare + [name for name in imported_modules(file) if not mine(name) and room(name) not in rooms]


def test_the_table_has_no_circle_and_few_floors() -> None:
    """A room stands one floor above the highest that it may import. Every room is in the table."""
    floors: dict[str, int] = {}
    for name in TopologicalSorter({name: allowed(name) for name in MAY_IMPORT}).static_order():
        floors[name] = 1 + max((floors[below] for below in allowed(name)), default=0)
    assert max(floors.values()) <= MOST_FLOORS, sorted(floors.items(), key=lambda item: item[1])
    assert {room(name) for name in MODULES if name != "pipelines"} == set(MAY_IMPORT)


def test_modules_have_no_circle() -> None:
    """No module imports itself through others, not even inside of a function or for types."""
    TopologicalSorter({name: imported_modules(file) for name, file in MODULES.items()}).prepare()


def test_rooms_are_small() -> None:
    """A folder has at most a dozen modules besides its `__init__.py`."""
    sizes = {str(folder.relative_to(ROOT)): len([*folder.glob("*.py")]) - 1 for folder in FOLDERS}
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_rooms_say_what_they_are() -> None:
    """The docstring of a folder says in a few lines what lives there and what may not enter."""
    for folder in FOLDERS:
        said = ast.get_docstring(tree(folder / "__init__.py")) or ""
        if folder.name not in SOURCES:
            assert "may enter" in said, folder
            assert 2 <= len(said.splitlines()) <= 8, folder


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_four_rooms(name: str) -> None:
    """A vendor's folder has no fifth module; and each module knows only what is before it."""
    folder = ROOT / "sources" / name
    assert {file.name for file in folder.glob("*.py")} == VENDOR_FILES
    own = f"gapless.sources.{name}"
    for file in ("api.py", "models.py", "fake.py"):
        assert [i for i in imports(folder / file) if within(i, own)] == [], file
    api, models, fake = (
        {room(i) for i in imported_modules(folder / file)} for file in ("api.py", "models.py", "fake.py")
    )
    assert api <= {"sources._http"}
    assert models <= {"sources._schema"}
    assert fake <= {"sources._http"}
    may = ("gapless.sources._http.fake_vendor", "gapless.sources._http.transport.httpx")
    assert [i for i in imports(folder / "fake.py") if within(i, "gapless") and not within(i, *may)] == []
    assert not [i for i in imports(folder / "__init__.py") if within(i, f"{own}.fake")]


WAITS = ("pipelines.sync.loop", "pipelines.destinations.duckdb_connections", "sources._extract.steps.page")
"""Between two syncs, for another process to close the file, and for a user's step that works in the background."""
HTTP_LIBRARY = ("gapless.sources._http.transport", "gapless.sources._http.connection")
USE_DLT = ("sources", "sources._dlt", "sources._ledger", "sources._extract")
"""In `sources`: the register, for dlt's marks of settings, and the rooms on the way to dlt."""


@pytest.mark.slow
def test_one_place_for_each_thing() -> None:
    """httpx is used in `_http`, dlt in the rooms on the way to it, DuckDB in `pipelines`; nothing else sleeps."""
    found = {name: [*out_of_place(name, file)] for name, file in MODULES.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def out_of_place(own: str, file: Path) -> Iterator[str]:
    """Yields what a module imports or calls that belongs to another room."""
    names, calls, vendor = list(imports(file)), called(file), room(own) == "vendor"
    if within(own, "sources"):
        yield from (name for name in names if within(name, "duckdb", "typer", "rich"))
        yield from calls & {"print"}
        if not (room(own) in USE_DLT or (vendor and file.name == "__init__.py")):
            yield from (name for name in names if within(name, "dlt"))
    if not (within(own, "sources._http", "pipelines.observability.post") or (vendor and file.name == "fake.py")):
        yield from (name for name in names if within(name, "httpx2", "httpx", *HTTP_LIBRARY))
    if not within(own, "sources._http") and own not in WAITS:
        yield from calls & {"time.sleep", "sleep"}


def test_names() -> None:
    """There is no drawer for what has no place, and no file that shadows a library."""
    banned = {"utils", "helpers", "common", "manager", "misc", "base", "dagster", "airflow", "dlt", "duckdb"}
    assert [name for name, file in MODULES.items() if file.stem in banned] == []


def test_the_register_is_complete() -> None:
    """Every vendor's folder stands in it, and nothing else."""
    folders = {f.name for f in (ROOT / "sources").iterdir() if f.is_dir() and not f.name.startswith("_")}
    assert set(SOURCES) == folders
