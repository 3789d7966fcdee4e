"""Declares once the settings that all sources share, with their bounds. A source's own settings are in its function.

A setting's full name carries the source's name (`acme_lag`, in the environment `ACME_LAG`); the `gapless_` ones
hold for all sources alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from inspect import Parameter
from typing import Any

import dlt

from gapless.sources._ledger.window import optional_instant, retention
from gapless.sources._schema.destination_limits import RECORD_MB


@dataclass(frozen=True)
class Setting:
    """One setting; numbers have bounds, which are both allowed: neither infinity nor what is no number is within."""

    name: str
    kind: Any
    default: Any = None
    least: float = 0
    most: float = 0
    unit: str = ""

    @property
    def expected(self) -> str:
        """Returns what a number must be, for a person: of which kind, between which bounds, in which unit."""
        kind = "a whole number" if self.kind is int else "a number"
        return f"{kind}{f' of {self.unit}' if self.unit else ''} between {self.least:,g} and {self.most:,.0f}"

    def checked(self, full_name: str, value: Any) -> Any:
        """Returns `value`. Raises ValueError, naming the setting, when it is out of bounds."""
        # The short names, such as `lag`, have no type, so dlt hands over a text as it is.
        if isinstance(value, str) and self.kind in (int, float):
            try:
                value = self.kind(value)
            except ValueError:
                raise ValueError(f"{full_name.upper()} is no number; it must be {self.expected}") from None
        # Written so that it refuses what is no number, too: every comparison with NaN is false.
        if isinstance(value, int | float) and not self.least <= value <= self.most:
            # As it was written: 1000000, not 1e+06.
            found = f"{value:.0f}" if 1 <= abs(value) < FEW_DIGITS and value == int(value) else f"{value:g}"
            raise ValueError(f"{full_name.upper()} is {found}; it must be {self._bounds}")
        return value

    @property
    def _bounds(self) -> str:
        return f"between {self.least:,g} and {self.most:,.0f}{f' {self.unit}' if self.unit else ''}"


OF_ALL_SOURCES = """
Returns a dlt source and sends no request. Its resources yield Arrow tables page by page, or nested rows (dicts) with
`rows=True`. dlt reads an argument that is not given from its configuration.

`initial_value` and `end_value` (ISO 8601 texts or datetimes) bound the time of creation: from the first on, before
the second. `lag`, `gapless_retry_max_wait` and `gapless_retry_budget` are seconds, `gapless_max_record_mb` megabytes.
`session` is set by `gapless sync` alone.

Raises ConfigFieldMissingException (dlt's) for a missing key, SettingError or ValueError for a setting that is wrong.
A run raises dlt's PipelineStepFailed, caused by a VendorError, when the vendor refuses the whole; a parent or a
record that fails alone is a row of `coverage` or `dead_letters`, and raises nothing.
"""
"""What `help()` says of each source below its own words."""
DAY = 86_400.0
FEW_DIGITS = 10**15
"""A number above this is shown in powers of ten."""
MINUTE = "%Y-%m-%dT%H:%MZ"
AHEAD = timedelta(days=1)
"""By how much this machine's clock may be behind."""
REQUESTS_PER_MINUTE = Setting("requests_per_minute", int, 300, least=1, most=1_000_000)
BUDGET = Setting("budget", str | None)
WORKERS = Setting("workers", int, 8, least=1, most=256)
LAG = Setting("lag", float, 3600.0, least=0, most=3650 * DAY, unit="seconds")
INITIAL_VALUE = Setting("initial_value", str | None)
END_VALUE = Setting("end_value", str | None)
KEEP = Setting("keep", str | None)
PRIVACY = Setting("privacy", str | None)
HASH_KEY = Setting("gapless_hash_key", dlt.TSecretStrValue | None)
RETRY_MAX_WAIT = Setting("gapless_retry_max_wait", float, 60.0, least=0, most=DAY, unit="seconds")
RETRY_BUDGET = Setting("gapless_retry_budget", float, 300.0, least=0, most=7 * DAY, unit="seconds")
MAX_RECORD_MB = Setting("gapless_max_record_mb", float, RECORD_MB, least=1, most=256, unit="MB")

NUMBERS = (REQUESTS_PER_MINUTE, WORKERS, LAG, RETRY_MAX_WAIT, RETRY_BUDGET, MAX_RECORD_MB)


def expected_number(full_name: str, vendor: str, own: Iterable[Setting]) -> str | None:
    """Returns what a number of this full name must be, in words; None for any other setting.

    `own` are settings of the vendor's own, of any kind.
    """
    named = {one.name.removeprefix(f"{vendor}_"): one for one in (*NUMBERS, *own) if one.kind in (int, float)}
    return next((one.expected for name, one in named.items() if f"_{full_name}".endswith(f"_{name}")), None)


@dataclass(frozen=True)
class Shared:
    """Which of the shared settings a source has, and with which defaults."""

    source: str
    requests_per_minute: int
    lag: float | None = None
    """Look-back in seconds; None: the source needs none."""
    workers: int | None = None
    """None: the source is one listing."""

    def declared(self) -> dict[str, tuple[Setting, Any]]:
        """Returns the settings and their defaults, by full name, in the order of the source's signature."""
        chosen = [
            (REQUESTS_PER_MINUTE, self.requests_per_minute),
            (BUDGET, None),
            *([(WORKERS, self.workers)] if self.workers is not None else []),
            *([(LAG, self.lag)] if self.lag is not None else []),
            *((one, one.default) for one in (INITIAL_VALUE, END_VALUE, KEEP, PRIVACY)),
            *((one, one.default) for one in (HASH_KEY, RETRY_MAX_WAIT, RETRY_BUDGET, MAX_RECORD_MB)),
        ]
        return {self.full_name(setting): (setting, default) for setting, default in chosen}

    def full_name(self, setting: Setting) -> str:
        """Returns the setting's name with the source's before it, unless it holds for all sources."""
        return setting.name if setting.name.startswith("gapless_") else f"{self.source}_{setting.name}"

    def parameters(self) -> Iterator[Parameter]:
        """Yields them as parameters of the source's function."""
        for name, (setting, default) in self.declared().items():
            yield Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=setting.kind)

    def values(self, given: Mapping[str, Any]) -> SharedValues:
        """Returns the values out of the function's arguments. Raises ValueError, naming a setting that is wrong."""
        found = {
            setting.name: setting.checked(name, given.get(name, default))
            for name, (setting, default) in self.declared().items()
        }
        initial, end = (
            optional_instant(found[one.name], self.full_name(one).upper()) for one in (INITIAL_VALUE, END_VALUE)
        )
        self._check_span(initial, end)
        lag, setting = timedelta(seconds=found.get("lag", 0.0)), self.full_name(KEEP).upper()
        # In its section people leave out the source's name.
        keep = found["keep"] or dlt.config.get(f"sources.{self.source}.keep", str)
        return SharedValues(
            found["requests_per_minute"],
            self._budget(found["budget"]),
            found.get("workers", 1),
            lag,
            initial,
            end,
            retention(keep, setting, lag) if keep else None,
            found["privacy"],
            found["gapless_hash_key"],
            found["gapless_retry_max_wait"],
            found["gapless_retry_budget"],
            found["gapless_max_record_mb"],
        )

    def _check_span(self, initial: datetime | None, end: datetime | None) -> None:
        """Raises ValueError, naming the settings, where no record can be at or after `initial` and before `end`."""
        first, last = (self.full_name(one).upper() for one in (INITIAL_VALUE, END_VALUE))
        if initial and end and initial >= end:
            raise ValueError(
                f"{first} ({initial:{MINUTE}}) is not before {last} ({end:{MINUTE}}): no record is between"
            )
        if initial and initial > datetime.now(UTC) + AHEAD:
            raise ValueError(
                f"{first} ({initial:{MINUTE}}) is in the future: every record is older, and none is read"
            )

    def _budget(self, name: str | None) -> tuple[str, int] | None:
        """Returns the budget of this name and its requests a minute. Raises ValueError where there is none."""
        if not name:
            return None
        setting, limit = self.full_name(BUDGET).upper(), dlt.config.get(f"budgets.{name}", int)
        if limit is None:
            raise ValueError(f"{setting} is {name!r}, and there is no such budget: add `{name} = 100` to [budgets]")
        return name, REQUESTS_PER_MINUTE.checked(f"budgets.{name}", limit)


@dataclass(frozen=True)
class SharedValues:
    """The shared settings of one source, as they are set."""

    requests_per_minute: int
    budget: tuple[str, int] | None
    """Name and requests a minute of the budget that several accounts share."""
    workers: int
    lag: timedelta
    initial: datetime | None
    end: datetime | None
    keep: timedelta | None
    """How long records are kept; None: for ever."""
    privacy: str | None
    hash_key: str | None
    retry_max_wait: float
    retry_budget: float
    max_record_mb: float
