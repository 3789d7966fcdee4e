"""Names settings that nobody reads, with the one that was meant: a misspelt setting must not be ignored in silence.

It reads the names of variables and of keys in dlt's files, and never shows a value.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from inspect import signature

from gapless.pipelines.destinations._dlt.config import documents
from gapless.sources import SOURCES

OURS = (
    "GAPLESS_ALLOW_HTTP", "GAPLESS_DEBUG", "GAPLESS_ERASURE_KEY", "GAPLESS_HASH_KEY", "GAPLESS_LOG_FORMAT",
    "GAPLESS_MAX_RECORD_MB",
    "GAPLESS_PUBLISH", "GAPLESS_PUBLISH_MODE", "GAPLESS_RETRY_BUDGET", "GAPLESS_RETRY_MAX_WAIT", "GAPLESS_SOURCES",
    "GAPLESS_WEBHOOK_ON", "GAPLESS_WEBHOOK_URL",
)  # fmt: skip
"""Settings of gapless that hold for all sources."""
SECTIONS = ("sources", "destination", "gapless", "runtime", "load", "extract", "normalize", "accounts", "budgets")
"""Sections of dlt's files that people write; dlt has more, so one is named only if it is nearly one of these."""
IN_GAPLESS = ("sources", "erasure_key")
"""Settings whose names are shorter within the section `gapless`."""
NOT_SETTINGS = frozenset({"rows", "session", "initial_value", "end_value", "lag"})
"""Parameters of a source's function that no configuration holds."""
OF_DLT = ("max_table_nesting", "schema_contract", "parallelized", "name", "section", "root_key", "log_level")
"""What dlt itself reads in a source's section."""


def unknown_settings(sources: Iterable[str]) -> Iterator[str]:
    """Yields a sentence for each setting of these sources, or of gapless, that nobody reads."""
    known = {name: _settings(name) for name in sources}
    yield from _in_environment(known, os.environ)
    for document in documents():
        yield from _in_document(known, document)


def _settings(source: str) -> list[str]:
    return [name for name in signature(SOURCES[source].build).parameters if name not in NOT_SETTINGS]


def _in_environment(known: Mapping[str, list[str]], environment: Iterable[str]) -> Iterator[str]:
    for variable in sorted(environment):
        if variable.startswith("GAPLESS_") and variable not in OURS:
            yield _sentence(f"the variable {variable}", _near(variable, OURS))
        for source, names in known.items():
            # Another program may have variables that begin alike, so only one that is nearly ours is named.
            ours = [name.upper() for name in names]
            named = variable.startswith(f"{source.upper()}_") and "__" not in variable  # dlt reads what has two, too
            if named and _owner(variable) == source and variable not in ours and (near := _near(variable, ours)):
                yield _sentence(f"the variable {variable}", near)
        if meant := _in_section(variable, known) or _of_a_source(variable, known, environment):
            yield _sentence(f"the variable {variable}", meant)


def _in_section(variable: str, known: Mapping[str, list[str]]) -> str | None:
    """Returns the setting that a variable with a section of dlt's is but for a slip in its name."""
    *sections, key = variable.lower().split("__")
    names = known.get(sections[-1], []) if sections else []
    if key in (*names, *OF_DLT) or not names:
        return None
    near = _near(key, names) or _longer(key, names)
    return near and near.upper()


def _of_a_source(variable: str, known: Mapping[str, list[str]], environment: Iterable[str]) -> str | None:
    """Returns the setting that a variable is but for a slip in the source's name, unless that one is set, too."""
    for source, names in known.items():
        for setting in (name.upper() for name in names if name.startswith(f"{source}_")):
            prefix = variable.removesuffix(setting.removeprefix(source.upper()))
            if prefix in (variable, "") or setting in environment or prefix.lower() in SOURCES:
                continue
            if _near(prefix.lower(), [source]):
                return setting
    return None


def _owner(variable: str) -> str | None:
    """Returns the source whose setting a variable may be: of `acme` and its account `acme_eu` the longer name."""
    return max((name for name in SOURCES if variable.startswith(f"{name.upper()}_")), key=len, default=None)


def _in_document(known: Mapping[str, list[str]], document: Mapping[str, object]) -> Iterator[str]:
    ours = [name.lower() for name in OURS]
    whole = [*ours, *(name for names in known.values() for name in names)]
    for section, content in document.items():
        if section in known and isinstance(content, Mapping):
            # dlt reads what stands there as its own, for the pipeline of that name.
            yield from _stray(section, content, known[section])
        elif section not in SECTIONS and isinstance(content, Mapping) and (near := _near(section, SECTIONS)):
            yield _sentence(f"the section [{section}] in .dlt", f"[{near}]")
        elif section not in whole and not isinstance(content, Mapping) and (near := _near(section, whole)):
            yield _sentence(f"{section} in .dlt", near)
    yield from _keys("gapless", document.get("gapless"), [*ours, *IN_GAPLESS])
    sections = document.get("sources")
    for name, content in sections.items() if isinstance(sections, Mapping) else ():
        if name in known:
            yield from _keys(f"sources.{name}", content, [*known[name], *OF_DLT, "keep"])
        elif isinstance(content, Mapping) and name not in SOURCES and (near := _near(name, [*SOURCES])):
            yield _sentence(f"the section [sources.{name}] in .dlt", f"[sources.{near}]")


def _stray(source: str, content: Mapping[str, object], known: list[str]) -> Iterator[str]:
    """Yields the settings of a source that stand in a section with its bare name."""
    for key, value in content.items():
        if not isinstance(value, Mapping) and key not in known and (near := _near(key, known) or _longer(key, known)):
            yield _sentence(f"{key} in the section [{source}] in .dlt", f"{near} in [sources.{source}]")


def _keys(section: str, content: object, known: list[str]) -> Iterator[str]:
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if key not in known and not isinstance(value, Mapping):
            yield _sentence(f"{key} in the section [{section}] in .dlt", _near(key, known) or _longer(key, known))


def _near(name: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.8)), None)


def _longer(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that ends with this one: people leave out the source's name in front."""
    return next((one for one in known if one.endswith(f"_{name}")), None)


def _sentence(what: str, near: str | None) -> str:
    return f"{what} is no setting, and nobody reads it" + (f"; {near} is one" if near else "")
