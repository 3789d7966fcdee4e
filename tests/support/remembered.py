"""What each sync works out anew and is the same every time, remembered for a whole run: a tenth of its CPU time.

Only answers that depend on a type alone (dlt notes in `validate_dict` that they could be kept). What a newer dlt no
longer has is left alone.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec
from typing import Any

from dlt.common import validation
from dlt.common.configuration.specs import base_configuration

OF_A_TYPE = {
    validation: ("is_literal_type", "is_optional_type", "is_typeddict", "is_union_type"),
    base_configuration: ("is_secret_hint",),
}


def begin() -> None:
    """Replaces the functions in every module of dlt that has imported them; a second call changes nothing."""
    if _Absent not in sys.meta_path and find_spec("pandas") is None:
        sys.meta_path.insert(0, _Absent)
    for module, names in OF_A_TYPE.items():
        for function in [vars(module)[name] for name in names if name in vars(module)]:
            if not hasattr(function, "cache_info"):
                _replace(function, cache(function))


class _Absent:
    """Says at once that pandas is not installed: DuckDB looks for it at each statement with parameters, in every
    folder of the path."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)


def _replace(function: Any, remembered: Any) -> None:
    for name, module in [*sys.modules.items()]:
        if name.startswith("dlt.") and vars(module).get(function.__name__) is function:
            setattr(module, function.__name__, remembered)
