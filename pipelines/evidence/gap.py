"""A gap: something that is not proven complete, with the command that fills it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.printable import can_be_typed, quoted, words
from gapless.sources import Source, left_accounts
from gapless.sources._http.errors import SettingError
from gapless.sources._ledger.dead_letters import was_not_copied
from gapless.sources._ledger.shard import WHOLE, Shard
from gapless.sources._ledger.window import parse_ids

Kind = Literal[
    "never synced",
    "damaged",
    "not asked",
    "interval",
    "never asked",
    "failing",
    "set back",
    "dead letter",
    "lost",
    "doubled",
    "stale",
    "shard",
    "backfill",
    "privacy",
]


@dataclass(frozen=True)
class Failed:
    """How something failed, as the ledger notes it; empty for gaps of which nothing failed."""

    reason: str = ""
    """The part of the gap's `why` that others may share: without counts of its own; empty: all of it."""
    key: str = ""
    """Id of the record, of a dead letter of one."""
    times: int = 0
    """Rounds in a row in which it failed."""
    first_at: str | None = None
    """When it failed for the first time."""
    was_empty: bool = False
    """Whether it was read to its end before, and had no record then."""


@dataclass(frozen=True)
class Gap:
    """Something that is not proven complete; times are ISO 8601 in UTC."""

    source: str
    kind: Kind
    stream: str
    parent: str
    """Empty: the whole stream."""
    since: str | None
    """Null: from the beginning."""
    until: str | None
    why: str
    fill: str
    """The command that fills it."""
    failed: Failed = Failed()
    of: int | None = None
    """Number of all parents, where it is one of them."""

    def to_json(self) -> dict[str, object]:
        """Returns the fields as JSON values, those of `failed` among them."""
        return {**{name: value for name, value in vars(self).items() if name != "failed"}, **vars(self.failed)}


ASKS = ("sync", "verify", "backfill", "state rewind", "state reset", "state adopt")
"""Commands that only know accounts of the settings, as they ask a vendor or make the next sync do it."""


def chosen_ids(source: Source) -> list[str]:
    """Returns the ids that a setting names to be read instead of all: of records, or of parents."""
    import dlt

    setting = source.stream.only
    places = (f"sources.{source.name}.{setting}", f"sources.{setting}", setting) if setting else ()
    named = next(filter(None, map(dlt.config.get, places)), None)
    try:
        return parse_ids(named, setting) if setting and named else []
    except SettingError:  # a sync says what is wrong with it
        return []


def _taken_back(source: str, setting: str) -> str:
    """Returns what takes a setting back for one command: by the variable that counts, as dlt looks for three."""
    places = (f"SOURCES__{source.upper()}__{setting}", f"SOURCES__{setting}")
    return f"{next(filter(os.environ.get, places), setting)}= "


@dataclass(frozen=True)
class Commands:
    """The commands to type for one source in one destination."""

    source: Source
    destination: str
    """Without a default: a command that is printed and does not name it would fill another one."""
    appends: bool = False
    one_writer: bool = False
    """Whether no shards can write there: what one of them left, a sync of the whole source reads."""

    @classmethod
    def at(cls, source: Source, target: Target) -> Commands:
        """Returns the commands for what a target leads to."""
        return cls(source, target.destination, target.appends, target.backend.one_writer)

    def typed(self, fill: str, *, unchosen: bool = False) -> str:
        """Returns the command as it is typed; adds --destination to each command of a pair.

        What asks a vendor names an account that left the settings in front, for itself alone; and what reads what is
        `unchosen` takes back the setting that names the only ids to read, for itself alone.
        """
        steps = [*_steps(fill)]
        # `copy` names the destination itself, and the sync before it fills the file that is copied.
        copies = any(step[0] == "copy" for step in steps)
        where = "" if self.destination == "duckdb" or copies else f" --destination {quoted(self.destination)}"
        append = " --accept-append" if self.appends else ""
        extras = ["" if step[0] == "copy" else where + (append if step[0] == "sync" else "") for step in steps]
        left = f"ACCOUNTS__{self.source.name.upper()}={self.source.vendor} " * (self.source.name in left_accounts())
        begins = [left if " ".join(step[:2]) in ASKS or step[0] in ASKS else "" for step in steps]
        if unchosen and self.source.stream.only:
            every = _taken_back(self.source.name, self.source.stream.only.upper())
            begins = [
                begin + every * (step[0] in ("sync", "verify")) for begin, step in zip(begins, steps, strict=True)
            ]
        lines = zip(begins, steps, extras, strict=True)
        return " && ".join(f"{begin}gapless {' '.join(step)}{extra}" for begin, step, extra in lines)

    def sync(self, parent: str = "", reason: str = "", shard: Shard = WHOLE) -> str:
        """Returns the command that reads a parent: by its id, or else a sync, which reads failed parents first.

        One that was not found, by the `reason` of its failure, may be gone, and only a sync reads the listing.
        """
        by_id = self.source.stream.by_id == "parent" and not was_not_found(reason)
        alone = by_id and parent and can_be_typed(parent)
        part = "" if shard.whole or self.one_writer else f" --shard {shard}"
        return f"sync {self.source.name}{part}" + (f" --id {quoted(parent)}" if alone else "")

    @property
    def repair(self) -> str:
        """Returns the command that compares with the vendor and reads again what is missing."""
        return f"verify {self.source.name} --repair"

    @property
    def copy(self) -> str:
        """Returns the command that copies the source from the DuckDB file to here."""
        return f"copy {self.source.name} --to {quoted(self.destination)}"

    def acknowledge(self, until: str) -> str:
        """Returns the commands that acknowledge an interval which ends then and which nobody can fill."""
        return f"state rewind {self.source.name} --to {quoted(until)} --yes && sync {self.source.name}"

    @property
    def reset(self) -> str:
        """Returns the commands that read everything again."""
        return f"state reset {self.source.name} --yes && sync {self.source.name}"

    def apply_policy(self, *, here: bool) -> str:
        """Returns the commands that bring all rows to today's privacy policy; `here`: from what is here alone."""
        # What was dropped or hashed before must come from the vendor again, and nothing is changed in place in files.
        return f"privacy apply {self.source.name} --yes" if here and not self.appends else self.reset

    def retry(self, stream: str, kind: str, parent: str | None, reason: str) -> str:
        """Returns the command that retries a dead letter; reading one record by its id moves no watermark."""
        if was_not_copied(reason):
            return f"sync {self.source.name} && copy --to {quoted(self.destination)}"
        if reason.startswith(MISSING):
            return self.repair
        # Rows of parents need no repair: each sync lists them again.
        if reason.startswith(DIFFERS) and stream == self.source.main.name:
            return f"verify {self.source.name} --cells --repair"
        by_walk = self.source.stream.walks and (kind == "nameless" or self.source.stream.by_id is None)
        if by_walk:  # only a walk over all shows that it is valid now
            return self.reset
        return self.sync(parent or "") if stream == self.source.main.name else f"sync {self.source.name}"


def was_not_found(reason: str) -> bool:
    """Returns whether the reason of a failure says that the vendor does not know the parent by its id."""
    return " answered 404" in reason or " answered 410" in reason


def _steps(fill: str) -> Iterator[list[str]]:
    """Yields the commands of a line as their words; an id may hold `&&` as well, in quotation marks."""
    step: list[str] = []
    for word in words(fill):
        if word == "&&":
            yield step
            step = []
        else:
            step.append(word)
    yield step


IN_DOUBT = "its proof is in doubt since a load broke off at "
"""How `why` begins where a load that was not completed replaced the proof; rows may be here all the same."""
MISSING = "missing: "
"""How the reason begins of a dead letter that `gapless verify` wrote: the record is served and it is not here."""
DIFFERS = "differs: "
"""The same for a record that is here with other cells, or other rows below it, than the vendor serves."""
