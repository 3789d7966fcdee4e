"""Notes beside the working files what `gapless forget` and `gapless keep` erased: a database that was restored from
an older backup, or made anew, knows nothing of it, and the forgotten would come back.

A note names nobody. Only commands of the same user on the same machine see it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.errors import UnknownErasures
from gapless.pipelines.evidence.proofs import as_utc
from gapless.pipelines.printable import command, counted
from gapless.sources._ledger.erasure.tombstones import ERASURES

if TYPE_CHECKING:
    from gapless.pipelines.destinations.target import Target
    from gapless.pipelines.erasure.tables import Tables


SELECT = "select erasure_id, erased_at, digest, kept_from from {} where digest is not null or reason is not null"
"""What a command erased; a setting erases again by itself."""


@dataclass(frozen=True)
class Noted:
    """One erasure, as the table `erasures` has it. Times are in ISO 8601."""

    erasure_id: str
    erased_at: str
    digest: str | None
    kept_from: str | None

    @property
    def day(self) -> str:
        return self.erased_at[:10]

    def is_within(self, horizon: str) -> bool:
        """Returns whether a later horizon of a retention erases all that this one erased."""
        return self.kept_from is not None and self.kept_from <= horizon


def note(target: Target, name: str, tables: Tables) -> None:
    """Notes what the database knows now, beside what is noted already. Raises nothing: the erasure is done."""
    file = target.erasures_file(name)
    here = map(_noted, tables.query(SELECT.format(tables.name(ERASURES))))
    every = {one.erasure_id: one for one in (*_read(file), *here)}
    with suppress(OSError):
        written = file.with_name(f"{file.name}.new")
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as text:
            text.writelines(f"{json.dumps(asdict(one))}\n" for one in every.values())
        written.replace(file)


def require_known(target: Target, name: str, reader: Reader) -> None:
    """Raises UnknownErasures when the database lacks an erasure that is noted, and the same was not erased since."""
    file = target.erasures_file(name)
    noted = _read(file)
    if not noted:
        return
    here = [_noted(row) for row in reader.rows(name, SELECT.format("{0}"), ERASURES) or ()]
    known = {one.erasure_id for one in here} | {one.digest for one in here}
    horizon = max((one.kept_from for one in here if one.kept_from), default="")
    left = [one for one in noted if not known & {one.erasure_id, one.digest} and not one.is_within(horizon)]
    if left:
        verbs = {"forget": any(one.digest for one in left), "keep": any(one.kept_from for one in left)}
        typed = " and ".join(command(target.destination, verb, name) for verb, used in verbs.items() if used)
        when = " to ".join(dict.fromkeys((min(one.day for one in left), max(one.day for one in left))))
        raise UnknownErasures(
            f"{name}: the database knows nothing of {counted(len(left), 'erasures')} of {when}: it was restored"
            " from a backup, or made anew. What was erased would come back, so nothing was read. Give those commands"
            f" again, each as it was ({typed} …); to give these erasures up, delete {file}"
        )


def _noted(row: tuple[Any, ...]) -> Noted:
    key, at, digest, kept = row
    erased_at, kept_from = (found.isoformat() if (found := as_utc(time)) else None for time in (at, kept))
    return Noted(str(key), erased_at or "", digest, kept_from)


def _read(file: Path) -> list[Noted]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Noted(**json.loads(line)) for line in lines]
