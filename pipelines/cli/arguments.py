"""Turns the text of options into values: shards, windows, ids, intervals. Sends no request."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.sync.request import SyncRequest
from gapless.sources import SOURCES
from gapless.sources._dlt.tables import LOADS
from gapless.sources._ledger.shard import Shard
from gapless.sources._ledger.window import Window, instant

AHEAD = timedelta(days=1)
"""By how much this machine's clock may be behind."""


def shard(text: str | None, ids: list[str]) -> Shard:
    """Returns the shard that `--shard K/N` names, without it the whole. Raises WrongSettings."""
    if text and ids:
        raise WrongSettings("--id reads single records, which cannot be split; leave out --shard.")
    try:
        return Shard.parse(text) if text else Shard()
    except ValueError as error:
        raise WrongSettings(f"--shard: {error}") from None


def idle(names: list[str], part: Shard) -> list[str]:
    """Returns a message for each source that this shard does not read, because it cannot be split."""
    # The first shard reads such a source whole, so that N shards together read everything once.
    unsplit = [name for name in names if not SOURCES[name].split_by] if part.number > 1 else []
    return [f"{name}: cannot be split; shard 1/{part.of} reads all of it, this one nothing" for name in unsplit]


def append_only(target: Target) -> list[str]:
    """Returns a message about a destination that cannot update rows, none for others."""
    rule = (
        f"for each key use the row with the newest completed _dlt_load_id (see {LOADS}); lost rows are not detected"
    )
    return [f"{target.destination}: append-only destination: {rule}"] if target.appends else []


def sync_request(names: list[str], since: str | None, until: str | None, ids: list[str]) -> SyncRequest:
    """Returns what a sync is to read. Raises WrongSettings for an empty window, and for ids that cannot be read."""
    if ids:
        return SyncRequest(ids=_ids(names, ids, since or until))
    window = Window(time(since, "--since") if since else None, time(until, "--until") if until else None)
    if window.since and window.until and window.since >= window.until:
        raise WrongSettings(f"--since {since} is not before --until {until}, so the window is empty.")
    if window.since and window.since > datetime.now(UTC) + AHEAD:
        raise WrongSettings(f"--since {since} is in the future, where no record is yet.")
    return SyncRequest(window=window)


def time(text: str, option: str) -> datetime:
    """Returns an ISO 8601 time in UTC. Raises WrongSettings, naming the option."""
    try:
        return instant(text, option)
    except ValueError as error:
        raise WrongSettings(str(error)) from None


def _ids(names: list[str], ids: list[str], window: str | None) -> tuple[str, ...]:
    """Returns each id once. Raises WrongSettings if the source has no endpoint for one record."""
    if len(names) != 1:
        raise WrongSettings("--id needs the one source it belongs to: gapless sync SOURCE --id ID")
    source = SOURCES[names[0]]
    if source.stream.by_id is None:
        raise WrongSettings(f"--id does not work for {source.name}: {source.facts.not_by_id}.")
    if unusable := [given for given in ids if given.strip() in ("", ".", "..")]:
        raise WrongSettings(f"--id {unusable[0]!r} is no id: expected the text that the vendor shows for a record.")
    if window:
        raise WrongSettings("--id reads single records whatever their time; leave out --since and --until.")
    # Each once, in the given order: a repeated id would be a repeated request.
    return tuple(dict.fromkeys(ids))


def seconds(text: str, option: str = "--every") -> float:
    """Returns the seconds of an interval: 30s, 15m, 2h or 1d, up to a year. Raises WrongSettings."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)\s*([smhd])", text.strip().lower(), re.ASCII)
    length = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] if found else 0.0
    if not 0 < length <= 366 * 86400:
        raise WrongSettings(f"{option} {text}: expected an interval such as 30s, 15m or 2h, with its unit.")
    return length
