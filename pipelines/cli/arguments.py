"""What was asked for, as a job: which sources, which span of time, how often. Asks no vendor."""

from __future__ import annotations

import re
from datetime import datetime

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import SOURCES
from gapless.sources._dlt.tables import LOADS
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.window import Window, instant


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


def appended(target: Target) -> list[str]:
    """What to say of a destination that can only append."""
    said = f"of those with one key the newest _dlt_load_id in {LOADS} counts, and nobody notices lost ones"
    return [f"{target.destination}: rows are only added; {said}"] if target.appends else []


def job(names: list[str], since: str | None, until: str | None, ids: list[str]) -> SyncRequest:
    """Raises WrongSettings for a span that is none, and for ids that no endpoint takes."""
    if ids:
        return SyncRequest(ids=_ids(names, ids, since or until))
    window = Window(time(since, "--since") if since else None, time(until, "--until") if until else None)
    if window.since and window.until and window.since >= window.until:
        raise WrongSettings(f"--since {since} is not before --until {until}; nothing can lie between them.")
    return SyncRequest(window=window)


def time(text: str, option: str) -> datetime:
    """Raises WrongSettings for what is no ISO 8601 time."""
    try:
        return instant(text, option)
    except ValueError as error:
        raise WrongSettings(str(error)) from None


def _ids(names: list[str], ids: list[str], spanned: str | None) -> tuple[str, ...]:
    if len(names) != 1:
        raise WrongSettings("--id needs the one source it belongs to: gapless sync SOURCE --id ID")
    source = SOURCES[names[0]]
    if source.stream.by_id is None:
        raise WrongSettings(f"--id does not work for {source.name}: {source.facts.not_by_id}.")
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
