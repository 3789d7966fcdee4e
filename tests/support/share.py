"""Which sweeps and slow tests a run plays that has no time for all of them: a part, as large in every run."""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Named(Protocol):
    """A test, by what is needed of it here."""

    @property
    def nodeid(self) -> str: ...


Test = TypeVar("Test", bound=Named)


@dataclass(frozen=True)
class Share:
    """One sweep in `sweeps`, and one slow test in `slow` beside one case of every fourth; `part` says which ones.

    `.ci/run` names one: a part that moved by itself would make a run red by chance, by what no change of it did.
    """

    sweeps: int = 1
    slow: int = 1
    part: int = 0

    @classmethod
    def of_settings(cls) -> Share:
        return cls(*(int(os.environ.get(name, each)) for name, each in SETTINGS.items()))

    @property
    def header(self) -> str:
        """Names the part, and what plays it again."""
        again = " ".join(f"{name}={value}" for name, value in zip(SETTINGS, self._values, strict=True))
        return "" if self.sweeps == self.slow == 1 else f"part of the sweeps and slow tests: {again}"

    @property
    def _values(self) -> tuple[int, int, int]:
        return self.sweeps, self.slow, self.part

    def of_sweeps(self, tests: Sequence[Test]) -> list[Test]:
        """Takes one in so many by their names: neighbours last about as long, so no part lasts much longer."""
        return self._each(tests, self.sweeps)

    def of_slow(self, tests: Sequence[Test]) -> list[Test]:
        """Takes a case of every fourth test as well, so that four parts have met each of them."""
        cases: dict[str, list[Test]] = defaultdict(list)
        for test in sorted(tests, key=_shuffled):
            cases[test.nodeid.partition("[")[0]].append(test)
        functions = [cases[name] for name in sorted(cases)][self.part % 4 :: 4]
        some = [each[self.part // 4 % len(each)] for each in functions]
        return list({test.nodeid: test for test in [*self._each(tests, self.slow), *some]}.values())

    def _each(self, tests: Sequence[Test], share: int) -> list[Test]:
        return sorted(tests, key=lambda test: test.nodeid)[self.part % share :: share]


SETTINGS = {"SWEEP_SHARE": 1, "SLOW_SHARE": 1, "SHARE_PART": 0}


def _shuffled(test: Named) -> int:
    return zlib.crc32(test.nodeid.encode())
