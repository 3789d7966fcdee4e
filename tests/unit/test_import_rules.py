"""Imports go one way, and each thing stands in the one file where a reader looks for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("sources/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
ROOMS = {"__init__.py", "api.py", "models.py", "fake.py"}


def module(file: Path) -> str:
    return ".".join(("gapless", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imports(file: Path) -> Iterator[str]:
    """What a file imports of ours, wherever in it: modules, and `module.name` for what is taken from one."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(file: Path) -> set[str]:
    """Names of what a file calls."""
    calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return {ast.unparse(call) for call in calls}


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


MAY_IMPORT = {
    "gapless.sources": ["gapless.sources.register", "gapless.sources.source"],
    "gapless.sources.register": ["gapless.sources.facts", "gapless.sources.source"],
    "gapless.sources.source": ["gapless.sources.facts", "gapless.sources._schema", "gapless.sources._incremental"],
    "gapless.sources._http": ["gapless.sources._http"],
    "gapless.sources._schema": ["gapless.sources._schema"],
    "gapless.sources._incremental": [
        "gapless.sources._http",
        "gapless.sources._schema",
        "gapless.sources._incremental",
    ],
}
"""What a shared package may import of ours; no vendor, and nothing of `pipelines`."""


@every_file
def test_imports_go_one_way(file: Path) -> None:
    """`_http` and `_schema` know nobody, `_incremental` knows them, a vendor these and itself, `pipelines` all."""
    own = module(file)
    ours = [name for name in imports(file) if within(name, "gapless", "sources", "pipelines", "tests")]
    if within(own, "gapless.pipelines"):
        assert [name for name in ours if within(name, "tests")] == []
        return
    package = ".".join(own.split(".")[:3])
    vendor = package.removeprefix("gapless.sources.") in SOURCES
    allowed = [*MAY_IMPORT["gapless.sources._incremental"], package] if vendor else MAY_IMPORT.get(package, [])
    assert [name for name in ours if not within(name, *allowed)] == []


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_four_rooms(name: str) -> None:
    """No fifth file in a vendor's folder; and each knows only what is before it."""
    folder = ROOT / "sources" / name
    assert {file.name for file in folder.glob("*.py")} == ROOMS
    own = f"gapless.sources.{name}"
    for room in ("api.py", "models.py", "fake.py"):
        siblings = [i for i in imports(folder / room) if within(i, own)]
        assert siblings == [], room
    api, models, fake = (list(imports(folder / room)) for room in ("api.py", "models.py", "fake.py"))
    assert not [i for i in api if within(i, "gapless.sources._schema", "gapless.sources._incremental")]
    assert not [i for i in models if within(i, "gapless.sources._http", "gapless.sources._incremental")]
    assert [i for i in fake if within(i, "gapless")] == ["gapless.sources._http.transport.httpx"]
    kept = list(imports(folder / "__init__.py"))
    assert not [i for i in kept if within(i, f"{own}.fake")]


WAITS = ("gapless.pipelines.sync.loop", "gapless.pipelines.destinations.duckdb_file", "gapless.pipelines.ui.queries")
"""Between two rounds, for a reader to end, and for a writer."""


@every_file
def test_one_place_for_each_thing(file: Path) -> None:
    """dlt in `_incremental` and a vendor's source, httpx in `_http` and the fakes, DuckDB in `pipelines`."""
    own, names = module(file), list(imports(file))
    rooms = file.name if own.split(".")[2:3] and own.split(".")[2] in SOURCES else ""
    if within(own, "gapless.sources") and not within(own, "gapless.sources._incremental") and rooms != "__init__.py":
        assert not [i for i in names if within(i, "dlt")] or own == "gapless.sources.source"  # knows dlt's marks
    if not within(own, "gapless.sources._http", "gapless.pipelines.observability.post") and rooms != "fake.py":
        assert not [i for i in names if within(i, "httpx", "gapless.sources._http.transport")]
    if within(own, "gapless.sources"):
        assert not [i for i in names if within(i, "duckdb", "typer", "rich")]
        assert "print" not in called(file)
    if not within(own, "gapless.sources._http"):
        assert not {"time.sleep", "sleep"} & called(file) or own in WAITS


@every_file
def test_names(file: Path) -> None:
    """No drawer for what has no place, and no file that shadows a library."""
    banned = {"utils", "helpers", "common", "manager", "misc", "base", "dagster", "airflow", "dlt", "duckdb"}
    assert file.stem not in banned


def test_the_register_is_complete() -> None:
    """Every vendor's folder stands in it, and nothing else."""
    folders = {f.name for f in (ROOT / "sources").iterdir() if f.is_dir() and not f.name.startswith("_")}
    assert set(SOURCES) == folders
