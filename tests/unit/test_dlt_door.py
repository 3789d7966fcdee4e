"""dlt's and httpx's insides are used behind doors alone; what stands behind them, test_dlt_canaries.py watches."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import dlt

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("sources/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
DLT_DOORS = {*ROOT.glob("pipelines/destinations/_dlt/*.py"), ROOT / "sources/_dlt/internals.py"}
DLT_TABLES = ROOT / "sources/_dlt/tables.py"
HTTPX_DOOR = ROOT / "sources/_http/transport.py"
DOCUMENTED = {
    "dlt": {*dlt.__all__, "TSecretStrValue"},
    "dlt.sources": {"DltResource", "DltSource"},
    "dlt.destinations": {*dlt.destinations.__all__},
}
"""Modules of dlt's documented surface, and what may be taken from each."""
PRIVATE = re.compile(r"_(?!_)")
SYSTEM_TABLES = re.compile(r"\b_dlt_(loads|version|pipeline_state)\b")


def below_the_surface(tree: ast.Module) -> Iterator[str]:
    """Yields what a module takes from dlt that is not documented, by import or as an attribute of `dlt`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("dlt.") and a.name not in DOCUMENTED)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".", 1)[0] == "dlt":
            allowed = DOCUMENTED.get(str(node.module), set())
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in allowed)
        elif isinstance(node, ast.Attribute):
            module, _, name = ast.unparse(node).rpartition(".")
            if (module in DOCUMENTED and name not in DOCUMENTED[module]) or module == "dlt.pipeline":
                yield f"{module}.{name}"


def texts(tree: ast.Module) -> Iterator[str]:
    """Yields the module's texts, but not its docstrings."""
    prose = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    nodes = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in prose)
    yield from (node.value for node in nodes if isinstance(node.value, str))


def private_names(tree: ast.Module) -> Iterator[str]:
    """Yields private attributes that are used on anything, as `x._name` or by `getattr(x, "_name")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and PRIVATE.match(node.attr) and ast.unparse(node) != "os._exit":
            yield node.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and PRIVATE.match(str(name.value)):
                yield str(name.value)


def own_private_names(tree: ast.Module) -> Iterator[str]:
    """Yields private names that a module defines itself: functions, fields, and what it sets on `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
        ):
            yield node.attr


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def test_dlt_is_used_below_its_documented_surface_behind_the_doors_alone() -> None:
    found = {file: [*below_the_surface(parsed(file))] for file in FILES if file not in DLT_DOORS}
    assert {str(file.relative_to(ROOT)): names for file, names in found.items() if names} == {}
    assert any(below_the_surface(parsed(file)) for file in DLT_DOORS)


def test_one_module_names_the_system_tables_of_dlt() -> None:
    """In SQL the views may name the table of loads, as they are plain text; a canary holds it to a real load."""
    found = {file: [*filter(SYSTEM_TABLES.search, texts(parsed(file)))] for file in FILES if file != DLT_TABLES}
    assert {str(file.relative_to(ROOT)): names for file, names in found.items() if names} == {}
    in_sql = {name for file in ROOT.glob("pipelines/**/*.sql") for name in SYSTEM_TABLES.findall(file.read_text())}
    assert in_sql <= {"loads"}


def test_private_attributes_are_our_own() -> None:
    """Outside of the doors no private attribute is used that the module does not define itself."""
    found = {}
    for file in (one for one in FILES if one not in {*DLT_DOORS, HTTPX_DOOR}):
        tree = parsed(file)
        found[str(file.relative_to(ROOT))] = sorted({*private_names(tree)} - {*own_private_names(tree)})
    assert {file: names for file, names in found.items() if names} == {}


def test_each_rule_can_fail() -> None:
    """A module that breaks all of them is found out."""
    tree = ast.parse(
        "import dlt.common.schema\nfrom dlt.extract import DltResource\nfrom dlt.sources import DltResource\n"
        "dlt.destinations.impl\ndlt.pipeline.trace\ndlt.current.pipeline()\n"
        "select = f'select 1 from {x}._dlt_loads'\nclient._conn = 1\ngetattr(client, '_pool')\n"
        "self._own = 2\nself._own"
    )
    assert [*below_the_surface(tree)] == [
        "dlt.common.schema", "dlt.extract.DltResource", "dlt.destinations.impl", "dlt.pipeline.trace",
    ]  # fmt: skip
    assert [*filter(SYSTEM_TABLES.search, texts(tree))] == ["._dlt_loads"]
    assert {*private_names(tree)} - {*own_private_names(tree)} == {"_conn", "_pool"}
