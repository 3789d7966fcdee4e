"""Keeps the dead letters of one stream: what failed is stored, tried first next time, and closed when it succeeds.

A letter is closed by the batch that loads its record, or by a walk that provably passed the record's place without
meeting it; never by a record that was met and left out. In the second case nothing is left of the record but its
text, so the row is kept until a user deletes it, or until the record is loaded after all.

Kinds: a `record`, by its id; a `nameless` record, without a readable id, by a digest of its text; a `parent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from gapless.sources._http.errors import VendorError
from gapless.sources._ledger.ledger import DEAD_LETTERS, DeadLetter
from gapless.sources._ledger.session import Failure, FailureKind, Session
from gapless.sources._ledger.stored.reader import Ledger
from gapless.sources._schema.arrow import Batch, digest
from gapless.sources._schema.parse import Unreadable, readable_time
from gapless.sources._schema.record import Record

MAX_RETRIED = 100
"""Records requested again by id at the start of a sync, oldest attempt first; each may cost a retry budget."""
OF_TWO = "of two parents: it is served here and by "
"""How the reason begins for a record that two parents serve."""
NOT_COPIED = "not copied: "
"""How the reason begins in a copy for a record that the copy's destination could not store."""

NOT_SERVED = "no longer served: "
"""How the reason begins of a closed letter whose record the vendor serves no more: its row stays, with the text."""
DERIVED = "differs: derived rows: "
"""How the reason begins of a letter about rows that were made from a record and are kept, whatever it says now."""


def was_not_copied(reason: str) -> bool:
    """Returns whether a dead letter's reason says that only a copy lacks the record: `gapless copy` wrote it."""
    return reason.startswith(NOT_COPIED)


def of_two(parent: str, record: str) -> str:
    """Returns the key of the letter for a record of a parent that another parent serves as well."""
    return f"{parent}/{record}"


class DeadLetters:
    """The open dead letters of one stream in this shard. Each method returns the batch to load."""

    def __init__(self, stream: str, ledger: Ledger, session: Session) -> None:
        self._stream, self._session, self._now = stream, session, session.now()
        self._erased = session.erased
        letters = {(letter.kind, letter.key): letter for letter in ledger.dead_letters(stream, kept=NOT_SERVED)}
        self._open = {key: letter for key, letter in letters.items() if not letter.reason.startswith(NOT_SERVED)}
        self._kept = {key: letter for key, letter in letters.items() if key not in self._open}
        self._added: set[tuple[str, str]] = set()

    def records(self) -> list[DeadLetter]:
        """Returns the records to request again by id, oldest attempt first; at most MAX_RETRIED."""
        letters = [letter for letter in self._open.values() if letter.kind == "record"]
        # A letter that was tried is the newest one, so each has its turn, however many there are.
        return sorted(letters, key=lambda letter: letter.last_seen_at)[:MAX_RETRIED]

    def unmet(self) -> list[DeadLetter]:
        """Returns the open letters of records that this sync has not met again."""
        return [letter for letter in self.records() if (letter.kind, letter.key) not in self._added]

    def is_open(self, kind: str, key: str) -> bool:
        """Returns whether an earlier sync left an open letter, and this one neither met its record nor closed it."""
        return (kind, key) in self._open and (kind, key) not in self._added

    def is_doubtful(self, kind: str, key: str) -> bool:
        """Returns whether to look elsewhere for a record than by its id: when that was tried 2, 4, 8 … times."""
        letter = self._open.get((kind, key))
        tried = letter.attempts + 1 if letter else 0
        # To look for one that only fails costs a walk down to its place, so less and less often.
        return tried > 0 and tried & (tried - 1) == 0

    def place(self, model: type[Record], key: str) -> datetime | None:
        """Returns when a record with an open letter was created, in UTC; None if its JSON does not say it."""
        letter = self._open.get(("record", key))
        return readable_time(model, letter.raw_json) if letter and letter.raw_json else None

    def parents(self) -> set[str]:
        """Returns the parents that failed or hold a record that did: they are read whole, even if nothing changed."""
        return {letter.key if letter.kind == "parent" else letter.parent or "" for letter in self._open.values()}

    def unreadable(self, records: Iterable[Unreadable], parent: str | None = None) -> Batch:
        """Returns dead letters for records that do not fit their model."""
        return Batch(
            DEAD_LETTERS,
            [
                self._add("record" if r.key else "nameless", r.key or digest(r.raw), r.reason, parent, r.raw)
                for r in records
                if not self._is_erased("record" if r.key else "nameless", r.key or "", parent, r.raw)
            ],
        )

    def failed(self, kind: FailureKind, key: str, error: VendorError, parent: str | None = None) -> Batch:
        """Returns the dead letter for a parent, or for a record that is requested by id."""
        if self._is_erased(kind, key, parent):
            return Batch(DEAD_LETTERS, [])
        return Batch(DEAD_LETTERS, [self._add(kind, key, str(error), parent, None)])

    def elsewhere(self, parent: str, others: Mapping[str, str], raws: Mapping[str, str | None]) -> Batch:
        """Returns dead letters for records of a parent that another one serves as well, which keeps them.

        `others` are those parents, by the record's id. The key also names the parent, because the record itself is
        loaded.
        """
        return Batch(
            DEAD_LETTERS,
            [
                self._add("record", of_two(parent, key), f"{OF_TWO}{other}, which keeps it", parent, raws.get(key))
                for key, other in others.items()
                if not self._is_erased("record", key, parent)
            ],
        )

    def resolve(self, kind: str, keys: Iterable[str]) -> Batch:
        """Closes the dead letters of `keys`, if there are any."""
        every = [(kind, key) for key in keys]
        closed = [self._open.pop(key) for key in every if self._is_closed_by_loading(key)]
        loaded = [self._kept.pop(key) for key in every if key in self._kept]
        again = [one.model_copy(update={"reason": one.reason.removeprefix(NOT_SERVED)}) for one in loaded]
        return Batch(DEAD_LETTERS, [letter.model_copy(update={"healed_at": self._now}) for letter in closed + again])

    def resolve_parents(self) -> Batch:
        """Closes the letters of parents after a listing without parents was read: no sync wrote them."""
        return self.resolve("parent", [key for kind, key in self._open if kind == "parent"])

    def resolve_gone(self, keys: Iterable[str]) -> Batch:
        """Closes the letters of records that are not served any more, and keeps their texts."""
        known = [("record", key) for key in keys if self._is_closed_by_loading(("record", key))]
        return Batch(DEAD_LETTERS, [self._gone(key) for key in known])

    def _gone(self, key: tuple[str, str]) -> DeadLetter:
        """Returns a letter that is closed without its record; one with the record's text keeps it."""
        letter = self._open.pop(key)
        # The other parent's record is loaded, and a copy's is in the original.
        is_lost = letter.raw_json and not letter.reason.startswith((OF_TWO, NOT_COPIED))
        reason = NOT_SERVED + letter.reason if is_lost else letter.reason
        return letter.model_copy(update={"healed_at": self._now, "reason": reason})

    def _is_closed_by_loading(self, key: tuple[str, str]) -> bool:
        """Returns whether an open letter is closed by loading its record again; one about derived rows is not."""
        # Derived rows are only ever added: `verify --cells --repair` settles those that are wrong, and no load does.
        return key in self._open and not self._open[key].reason.startswith(DERIVED)

    def resolve_rest(self, parent: str | None, kinds: Iterable[str] = ("record", "nameless")) -> Batch:
        """Closes the dead letters of a parent's records after it was read whole, except those added in this sync.

        `parent` is None for a listing without parents.
        """
        keys = [
            key
            for key, letter in self._open.items()
            if letter.parent == parent
            and letter.kind in kinds
            and key not in self._added
            and self._is_closed_by_loading(key)
        ]
        return Batch(DEAD_LETTERS, [self._gone(key) for key in keys])

    def resolve_passed(self, since: datetime | None) -> Batch:
        """Closes the letters of records that a walk did not meet which passed all since then; None: no walk did."""
        unmet = [key for key, one in self._open.items() if since and one.last_seen_at < since and self.is_open(*key)]
        return Batch(DEAD_LETTERS, [self._gone(key) for key in unmet])

    def _is_erased(self, kind: FailureKind, key: str, parent: str | None, raw: str | None = None) -> bool:
        """Returns whether it was erased on purpose; then it is not reported."""
        return bool(self._erased) and self._erased.hides_letter(self._stream, kind, key, parent, raw)

    def _add(self, kind: FailureKind, key: str, reason: str, parent: str | None, raw: str | None) -> DeadLetter:
        before = self._open.get((kind, key)) or self._kept.get((kind, key))
        # A record may be tried by id and then come again in a page: it is reported once.
        if (kind, key) not in self._added:
            self._added.add((kind, key))
            self._session.failures.append(Failure(reason, self._stream, kind, key))
        return DeadLetter(
            stream=self._stream,
            kind=kind,
            key=key,
            parent=parent or (before.parent if before else None),
            reason=reason,
            # A failed request brings no text. The earlier one stays, as `place` reads the creation time there.
            raw_json=raw or (before.raw_json if before else None),
            attempts=before.attempts + 1 if before else 1,
            first_seen_at=before.first_seen_at if before else self._now,
            last_seen_at=self._now,
        )
