"""Names settings that nobody reads, with the one that was meant: a misspelt setting must not be ignored in silence.

It reads the names of variables and of keys in dlt's files, and never shows a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from inspect import signature

from gapless.pipelines.destinations._dlt.config import documents
from gapless.pipelines.destinations.resolve import KNOWN
from gapless.sources import SOURCES
from gapless.sources._extract.settings import (
    BUDGET,
    END_VALUE,
    HASH_KEY,
    INITIAL_VALUE,
    KEEP,
    LAG,
    MAX_RECORD_MB,
    PRIVACY,
    REQUESTS_PER_MINUTE,
    RETRY_BUDGET,
    RETRY_MAX_WAIT,
    WORKERS,
)

OF_GAPLESS = (
    "gapless_erasure_key", "gapless_publish", "gapless_publish_mode", "gapless_webhook_on", "gapless_webhook_url",
)  # fmt: skip
"""Settings that stand in the environment, in the section `gapless`, or before all sections."""
WEBHOOK = ("gapless_webhook_on", "gapless_webhook_url")
"""A setting, and the one without which it does nothing."""
OF_ALL_SOURCES = tuple(one.name for one in (HASH_KEY, MAX_RECORD_MB, RETRY_BUDGET, RETRY_MAX_WAIT))
"""Settings that stand in the environment, in the sections of sources, or before all sections."""
OF_ENVIRONMENT = (
    "gapless_allow_http", "gapless_debug", "gapless_log_format", "gapless_sources", "gapless_ui_token",
)  # fmt: skip
"""Settings that the environment alone has under this name."""
OURS = tuple(name.upper() for name in (*OF_ENVIRONMENT, *OF_GAPLESS, *OF_ALL_SOURCES))
SECTIONS = ("sources", "destination", "gapless", "runtime", "load", "extract", "normalize", "accounts", "budgets")
"""Sections of dlt's files that people write; dlt has more, so one is named only if it is nearly one of these."""
IN_GAPLESS = (*OF_GAPLESS, "sources", "erasure_key")
"""What the section `gapless` has: some names are shorter there."""
SHARED = tuple(
    one.name for one in (REQUESTS_PER_MINUTE, BUDGET, WORKERS, LAG, INITIAL_VALUE, END_VALUE, KEEP, PRIVACY)
)
"""Settings that sources share, without the source's name; not every source has each."""
IN_DESTINATIONS = ("credentials", "destination_type")
OF_NONE = "belongs to no destination; expected in the section of one, such as {0}"
NOT_SETTINGS = frozenset({"rows", "session", "initial_value", "end_value", "lag"})
"""Parameters of a source's function that no configuration holds."""
OF_DLT = ("max_table_nesting", "schema_contract", "parallelized", "name", "section", "root_key", "log_level")
"""What dlt itself reads in a source's section."""


def unknown_settings(sources: Iterable[str]) -> Iterator[str]:
    """Yields a sentence for each setting of these sources, or of gapless, that nobody reads."""
    known = {name: _settings(name) for name in sources}
    yield from _in_environment(known, os.environ)
    found = documents()
    for document in found:
        yield from _in_document(known, document)
    places = [os.environ, *found, *(one for one in (document.get("gapless") for document in found) if one)]
    named = {name.lower() for place in places if isinstance(place, Mapping) for name, value in place.items() if value}
    if WEBHOOK[0] in named and WEBHOOK[1] not in named:
        yield f"{WEBHOOK[0].upper()} has no effect without {WEBHOOK[1].upper()}"


def _settings(source: str) -> list[str]:
    return [name for name in signature(SOURCES[source].build).parameters if name not in NOT_SETTINGS]


def _in_environment(known: Mapping[str, list[str]], environment: Iterable[str]) -> Iterator[str]:
    every = {*OURS, *(name.upper() for settings in known.values() for name in settings)}
    for variable in sorted(environment):
        yield from _of_ours(variable, every)
        if meant := _of_a_destination(variable, environment):
            yield _sentence(f"the variable {variable}", meant)
        elif variable.removeprefix("DESTINATION__").lower() in IN_DESTINATIONS and "__" in variable:
            yield f"the variable {variable} {OF_NONE.format('DESTINATION__DUCKDB__…')}"
        elif variable.startswith("DESTINATION__") and not os.environ.get(variable, "?").strip():
            yield f"the variable {variable} is empty, and counts as not set"
        for source, names in known.items():
            # Another program may have variables that begin alike, so only one that is nearly ours is named.
            ours = [name.upper() for name in names]
            named = variable.startswith(f"{source.upper()}_") and "__" not in variable  # dlt reads what has two, too
            if named and _owner(variable) == source and variable not in ours:
                near, shared = _near(variable, ours), variable.removeprefix(f"{source.upper()}_").lower() in SHARED
                if near or shared:
                    yield _sentence(f"the variable {variable}", near)
        if meant := _in_section(variable, known) or _of_a_source(variable, known, environment):
            yield _sentence(f"the variable {variable}", meant)


def _of_ours(variable: str, every: Collection[str]) -> Iterator[str]:
    """Yields what is wrong with a variable that begins like gapless' own, or is a setting in small letters."""
    begin = variable.partition("_")[0]
    if variable not in OURS and (variable.startswith("GAPLESS_") or _near(begin, ["GAPLESS"])):
        yield _sentence(f"the variable {variable}", _near(variable, OURS))
    elif variable not in every and variable.upper() in every:
        yield _sentence(f"the variable {variable}", variable.upper())


def _in_section(variable: str, known: Mapping[str, list[str]]) -> str | None:
    """Returns the setting that a variable with a section of dlt's is but for a slip in its name."""
    *sections, key = variable.lower().split("__")
    names = known.get(sections[-1], []) if sections else []
    if key in (*names, *OF_DLT) or not names:
        return None
    near = _near(key, names) or _longer(key, names)
    return near and near.upper()


def _of_a_destination(variable: str, environment: Iterable[str]) -> str | None:
    """Returns the setting of a destination's credentials that a variable is but for a slip in its name."""
    meant = [f"DESTINATION__{name.upper()}__CREDENTIALS" for name in KNOWN]
    if found := re.fullmatch(r"DESTINATION__([A-Z0-9]+)(?:__(?:DATABASE|FILE|PATH))?", variable):
        return f"DESTINATION__{found[1]}__CREDENTIALS" if found[1].lower() in KNOWN else None
    if found := re.fullmatch(r"DESTINATION__(\w+?)__CREDENTIALS(?:__\w+)?", variable):
        name, typed = found[1].lower(), f"DESTINATION__{found[1]}__DESTINATION_TYPE"
        near = None if name in KNOWN or typed in environment or _is_set(name) else _near(name, KNOWN)
        return near and f"DESTINATION__{near.upper()}__CREDENTIALS"
    return _near(variable, meant, 0.93)


def _is_set(destination: str) -> bool:
    """Returns whether a file of settings says which kind of destination this name is."""
    named = (document.get("destination") for document in documents())
    return any(isinstance(names, Mapping) and destination in names for names in named)


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
    whole = [*OF_GAPLESS, *OF_ALL_SOURCES, *(name for names in known.values() for name in names)]
    for section, content in document.items():
        if section in known and isinstance(content, Mapping):
            # dlt reads what stands there as its own, for the pipeline of that name.
            yield from _stray(section, content, known[section])
        elif section in KNOWN and isinstance(content, Mapping) and "credentials" in content:
            yield _sentence(f"the section [{section}] in .dlt", f"[destination.{section}]")
        elif section in SECTIONS and not isinstance(content, Mapping):
            yield _sentence(f"{section} = … in .dlt", f"the section [{section}]")
        elif section not in SECTIONS and isinstance(content, Mapping) and (near := _near(section, SECTIONS)):
            yield _sentence(f"the section [{section}] in .dlt", f"[{near}]")
        elif section not in whole and not isinstance(content, Mapping) and (near := _placed(section, whole)):
            yield _sentence(f"{section} in .dlt", near)
    yield from _keys("gapless", document.get("gapless"), IN_GAPLESS)
    yield from _in_destinations(document.get("destination"))
    sections = document.get("sources")
    yield from _keys("sources", sections, whole)
    for name, content in sections.items() if isinstance(sections, Mapping) else ():
        if name in known:
            yield from _keys(f"sources.{name}", content, [*known[name], *OF_DLT, "keep"])
            yield from _below(name, content)
        elif isinstance(content, Mapping) and name not in SOURCES and (near := _near(name, [*SOURCES])):
            yield _sentence(f"the section [sources.{name}] in .dlt", f"[sources.{near}]")


def _in_destinations(destinations: object) -> Iterator[str]:
    """Yields what is nearly the name of a destination, and what is nearly its credentials."""
    for name, content in destinations.items() if isinstance(destinations, Mapping) else ():
        if name in IN_DESTINATIONS:
            yield f"{name} in the section [destination] in .dlt {OF_NONE.format('[destination.duckdb]')}"
            continue
        if not isinstance(content, Mapping):
            if name in KNOWN:
                yield _sentence(f"{name} = … in the section [destination]", f"credentials in [destination.{name}]")
            continue
        for key in (key for key in ("database", "file", "path") if key in content and name in KNOWN):
            yield _sentence(f"{key} in the section [destination.{name}]", f"credentials in [destination.{name}]")
        if name not in KNOWN and "destination_type" not in content and (near := _near(name, KNOWN)):
            yield _sentence(f"the section [destination.{name}] in .dlt", f"[destination.{near}]")
        for key in (key for key in content if key not in IN_DESTINATIONS and _near(key, IN_DESTINATIONS)):
            yield _sentence(f"{key} in the section [destination.{name}] in .dlt", _near(key, IN_DESTINATIONS))


def _stray(source: str, content: Mapping[str, object], known: list[str]) -> Iterator[str]:
    """Yields the settings of a source that stand in a section with its bare name."""
    for key, value in content.items():
        if not isinstance(value, Mapping) and key not in known and (near := _near(key, known) or _longer(key, known)):
            yield _sentence(f"{key} in the section [{source}] in .dlt", f"{near} in [sources.{source}]")


def _keys(section: str, content: object, known: Sequence[str]) -> Iterator[str]:
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if key not in known and not isinstance(value, Mapping):
            yield _sentence(f"{key} in the section [{section}] in .dlt", _placed(key, known) or _longer(key, known))


def _below(source: str, content: object) -> Iterator[str]:
    """Yields the sections below a source's own, but for those of its tables, in which dlt looks, too."""
    own = {source, SOURCES[source].vendor, *(table.name for table in SOURCES[source].tables), *OF_DLT}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Mapping) and key not in own:
            yield _sentence(f"the section [sources.{source}.{key}] in .dlt", f"[sources.{source}]")


def _placed(key: str, known: Sequence[str]) -> str | None:
    """Returns the known name that a key nearly is, or where a setting of ours of exactly this name is read."""
    places = {**dict.fromkeys(OF_ENVIRONMENT, "the variable {0}"), **dict.fromkeys(OF_GAPLESS, "{1} in [gapless]")}
    place = {**places, **dict.fromkeys(OF_ALL_SOURCES, "{1} in [sources]")}.get(key)
    return place.format(key.upper(), key) if place else _near(key, known)


def _near(name: str, known: Iterable[str], alike: float = 0.8) -> str | None:
    names = list(known)
    same = next((one for one in names if one.lower() == name.lower()), None)  # but for capitals
    return same or next(iter(get_close_matches(name, names, n=1, cutoff=alike)), None)


def _longer(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that ends with this one: people leave out the source's name in front."""
    return next((one for one in known if one.endswith(f"_{name}")), None)


def _sentence(what: str, near: str | None) -> str:
    return f"{what} is no setting, and nobody reads it" + (f"; {near} is one" if near else "")
