"""Remembers a dataset's account in the state of its source, and refuses another one."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gapless.sources._dlt.types import State
from gapless.sources._http.errors import Refused, VendorError
from gapless.sources._ledger.account.evidence import Dataset, Evidence, is_read
from gapless.sources._ledger.erasure.key import LostKey

ACCOUNTS = "accounts"
"""The key in a source's state under which the dataset's accounts stand, by source."""
KEYS = "account_keys"
"""The key in a source's state under which fingerprints of the accounts' keys stand, by source."""


class AnotherAccount(Refused):
    """The settings name another account than the one whose rows a dataset holds."""


class SameAccount(Refused):
    """The rows of an account are here already, under a name that is not synced any more."""


@dataclass(frozen=True)
class Account:
    """Whose rows a dataset holds, as far as settings show before a request."""

    host: str
    id: str = ""
    """A digest of what tells accounts on the same host apart."""
    access: frozenset[str] = field(default=frozenset(), repr=False)
    """The keys, and where below the host they are used. Only a fingerprint of them is stored."""

    @property
    def stored(self) -> dict[str, str]:
        """Returns what is remembered of it besides the fingerprint."""
        return {"host": self.host, "id": self.id}

    def fingerprint(self, salt: str) -> str:
        """Returns a keyed digest of the keys; each dataset has its own salt, so that equal keys do not look equal."""
        text = "\n".join(sorted(self.access)).encode()
        return hmac.new(salt.encode(), text, "sha256").hexdigest()[:32]


@dataclass
class AccountCheck:
    """The check of one source's account; the source makes it when it is built."""

    source: str
    account: Account
    prove: Callable[[Dataset], Evidence]
    """Asks the vendor for some of what is here, and compares."""
    checked: bool = False
    """Whether a command of ours has made the check already."""

    def is_known(self, state: State, name: str = "") -> bool:
        """Returns whether a source's state holds this account and the fingerprint of its key.

        `name` is the source, where its state is another one's.
        """
        known, key = (state.get(one, {}).get(name or self.source) for one in (ACCOUNTS, KEYS))
        return bool(
            known == self.account.stored
            and key
            and hmac.compare_digest(key["digest"], self.account.fingerprint(key["salt"]))
        )

    def is_under(self, name: str, state: State, dataset: Dataset) -> bool:
        """Returns whether the rows of this account are those of another source: by its key, its id, or by ids."""
        known = state.get(ACCOUNTS, {}).get(name)
        if self.is_known(state, name) or (self.account.id and known == self.account.stored):
            return True
        if known and known["host"] != self.account.host:
            return False
        try:
            found = self.prove(dataset)
        # Another account may refuse to be asked for what is not its own, which says enough.
        except (VendorError, LostKey):
            return False
        return found.same > found.other

    def require(self, state: State, dataset: Dataset, remedy: str) -> str | None:
        """Checks the account that stands in a source's state; returns what a person should know.

        Where only the key is another one, ids prove whether the account is. Raises AnotherAccount, with the remedy,
        and what the requests of the proof raise.
        """
        known, key = state.get(ACCOUNTS, {}).get(self.source), state.get(KEYS, {}).get(self.source)
        if other := self.other(state):
            raise AnotherAccount(f"{self.source}: {other}. {advice(remedy)}")
        if self.is_known(state):
            self.checked = True
            return None
        found = self.prove(dataset)
        if known is None and found.emptied:  # an older version noted none; after a reset any may be read
            found.emptied = is_read(dataset)
        if not found.proven:
            changed = "the key is not the one of the last sync, and " if key else ""
            which = f"this dataset holds the rows of another account at {self.account.host}: {found}"
            if found.open:
                which = f"whether it is of the account that was read before, {found}"
            raise AnotherAccount(f"{self.source}: {changed}{which}. {advice(remedy)}")
        self.checked = True
        if key is None or not (found.stored or found.emptied):
            return None
        return f"{self.source}: the key is another one and the account is the same: {found}; the key is remembered"

    def remember(self, state: State) -> None:
        """Writes the account to a source's state; a fingerprint that is right stays."""
        state.setdefault(ACCOUNTS, {})[self.source] = self.account.stored
        keys = state.setdefault(KEYS, {})
        salt = keys.get(self.source, {}).get("salt", "")
        if not salt or keys[self.source]["digest"] != self.account.fingerprint(salt):
            salt = secrets.token_hex(16)
            keys[self.source] = {"salt": salt, "digest": self.account.fingerprint(salt)}

    def other(self, state: State) -> str | None:
        """Returns whose rows are here instead, where the settings alone show it; None: they do not."""
        known, host = state.get(ACCOUNTS, {}).get(self.source), self.account.host
        if known in (None, self.account.stored):
            return None
        held = f"{known['host']}, and the settings name {host}"
        return f"this dataset holds the rows of {held if known['host'] != host else f'another account at {host}'}"


def advice(remedy: str) -> str:
    """Returns what to do about the rows of another account; `remedy` is what to do if it is the same one."""
    own = "Give each account a database of its own, or a name of its own ([accounts] in .dlt/config.toml)"
    return f"{own}; if it is the same account, {remedy}"


def forget(state: State, sources: Iterable[str]) -> None:
    """Removes what is remembered of the accounts of these sources."""
    for name in sources:
        for key in (ACCOUNTS, KEYS):
            state.get(key, {}).pop(name, None)
