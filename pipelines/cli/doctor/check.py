"""One line of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One line of the doctor."""

    name: str
    result: Literal["ok", "fail", "-"]
    """`-`: there was nothing to check, which is no failure."""
    found: str
    remedy: str = ""
    """What to do if it failed."""

    def to_json(self) -> dict[str, str]:
        """Returns the check under the keys that `doctor --json` has always had."""
        return {"name": self.name, "result": self.result, "found": self.found, "mends": self.remedy}
