"""Reads what a model's source file says of its fields: the text below each, its attribute docstring (PEP 257).

pydantic can read them, too, but parses the whole file once for each model when it is imported.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from gapless.sources._schema.record import Record

Docstrings = dict[str, str]
"""By field."""


@cache
def field_docstrings(model: type[Record]) -> Docstrings:
    """Returns the docstrings of a model's fields, inherited ones too; none where there is no source file."""
    found: Docstrings = {}
    for one in reversed(model.__mro__):
        if issubclass(one, Record):
            found |= _of_module(one.__module__).get(one.__qualname__, {})
    return found


@cache
def _of_module(name: str) -> dict[str, Docstrings]:
    """Returns the docstrings of every class of a module, by the class's qualified name."""
    try:
        return dict(_classes(ast.parse(inspect.getsource(sys.modules[name]))))
    except (KeyError, OSError, TypeError):
        return {}


def _classes(node: ast.AST, around: str = "") -> Iterator[tuple[str, Docstrings]]:
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.ClassDef):
            yield f"{around}{one.name}", _docstrings(one.body)
            yield from _classes(one, f"{around}{one.name}.")
        elif isinstance(one, ast.FunctionDef):
            yield from _classes(one, f"{around}{one.name}.<locals>.")


def _docstrings(body: list[ast.stmt]) -> Docstrings:
    found: Docstrings = {}
    for field, below in pairwise(body):
        text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, str):
            found[field.target.id] = inspect.cleandoc(text)
    return found
