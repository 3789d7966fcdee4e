"""What was asked for, as a job: which sources, which span of time, how often. Asks no vendor."""

from __future__ import annotations

import os
import re
from datetime import datetime
from difflib import get_close_matches

from pipelines.errors import MissingSettings, WrongSettings
from pipelines.place import Place
from pipelines.run import Job, probe
from sources import SOURCES
from sources._sync.shard import Shard
from sources._sync.window import Window, instant

NOT_BY_ID = {"tines": "Tines has no endpoint for one log"}

HOW_TO_START = """\
no source has its credentials, so there is nothing to sync.
  to see it work without any key:     gapless demo
  to see what is missing:             gapless doctor
  to start with one source, set its variables in the environment or in .dlt/secrets.toml:"""


def known(names: list[str]) -> list[str]:
    """`names`, each once. Raises WrongSettings for one that is not a source."""
    for name in names:
        if name not in SOURCES:
            near = get_close_matches(name.lower(), SOURCES, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise WrongSettings(f"there is no source {name!r}; there are {', '.join(SOURCES)}.{hint}")
    return list(dict.fromkeys(names))


def configured() -> tuple[list[str], dict[str, list[str]]]:
    """The sources that have their credentials; and the others, with the settings each lacks."""
    ready, lacking = [], {}
    for name in SOURCES:
        missing = lacks(name)
        if missing:
            lacking[name] = missing
        else:
            ready.append(name)
    return ready, lacking


def lacks(name: str) -> list[str]:
    """The environment variables that a source needs and does not find; an empty one counts as not set."""
    empty = [need.upper() for need in SOURCES[name].needs if os.environ.get(need.upper()) == ""]
    try:
        probe(SOURCES[name])
    except MissingSettings as error:
        return sorted({*error.missing, *empty})
    except WrongSettings:
        if not empty:
            raise
    return empty


def nothing_configured() -> WrongSettings:
    needs = [" ".join(need.upper() for need in source.needs) for source in SOURCES.values()]
    return WrongSettings("\n".join([HOW_TO_START, *(f"    {need}" for need in needs)]))


def shard(text: str | None, ids: list[str]) -> Shard:
    """Raises WrongSettings for what is none."""
    if text and ids:
        raise WrongSettings("--id reads single records, which are not split; leave out --shard.")
    try:
        return Shard.parse(text) if text else Shard()
    except ValueError as error:
        raise WrongSettings(f"--shard: {error}") from None


def idle(names: list[str], part: Shard) -> list[str]:
    """What to say of sources that another shard reads."""
    unsplit = [name for name in names if not SOURCES[name].split_by] if part.number > 1 else []
    return [f"{name}: left to shard 1/{part.of}, which reads all of it, as it cannot be split" for name in unsplit]


def appended(place: Place) -> list[str]:
    """What to say of a destination that can only append."""
    said = "of those with one key the newest _dlt_load_id in _dlt_loads counts, and nobody notices lost ones"
    return [f"{place.destination}: rows are only added; {said}"] if place.appends else []


def job(names: list[str], since: str | None, until: str | None, ids: list[str]) -> Job:
    """Raises WrongSettings for a span that is none, and for ids that no endpoint takes."""
    if ids:
        return Job(ids=_ids(names, ids, since or until))
    window = Window(time(since, "--since") if since else None, time(until, "--until") if until else None)
    if window.since and window.until and window.since >= window.until:
        raise WrongSettings(f"--since {since} is not before --until {until}; nothing can lie between them.")
    return Job(window=window)


def time(text: str, option: str) -> datetime:
    """Raises WrongSettings for what is no ISO 8601 time."""
    try:
        return instant(text, option)
    except ValueError as error:
        raise WrongSettings(str(error)) from None


def _ids(names: list[str], ids: list[str], spanned: str | None) -> tuple[str, ...]:
    if len(names) != 1:
        raise WrongSettings("--id needs the one source it belongs to: gapless sync SOURCE --id ID")
    if names[0] in NOT_BY_ID:
        raise WrongSettings(f"--id does not work for {names[0]}: {NOT_BY_ID[names[0]]}.")
    if spanned:
        raise WrongSettings("--id reads single records whatever their time; leave out --since and --until.")
    return tuple(dict.fromkeys(ids))


def seconds(text: str) -> float:
    """A span such as 30s, 15m, 2h or 1d; a bare number is seconds. Raises WrongSettings."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip().lower())
    length = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] if found else 0.0
    if length <= 0:
        raise WrongSettings(f"--every {text}: expected a span such as 30s, 15m or 2h.")
    return length
