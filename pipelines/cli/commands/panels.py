"""In which group of `gapless --help`, and in which order, each command stands. No command may enter."""

from __future__ import annotations

PANELS = {
    "Start": "demo init doctor plan",
    "Run": "sync backfill state keep compact forget privacy",
    "Prove": "status gaps verify",
    "Look": "ui views describe mcp",
    "Move": "publish copy dbt",
}
"""Group -> its commands, both in the order of use; also of commands that only some versions have."""
ANSWERS = ("", "doctor", "plan", "status", "gaps", "verify", "state show")
"""The commands whose product is what they print, and the help and the version: without it, nothing was done."""
PARTS = {"state": "show rewind reset adopt", "privacy": "apply"}
"""Commands of two words; people forget the first."""
DRY = "--dry-run"
"""With it, other commands only answer, too."""
LAST = "More"
"""The group of commands that no other group names."""
ORDER = [name for names in PANELS.values() for name in names.split()]


def panel(name: str) -> str:
    """Returns the group of a command."""
    return next((title for title, names in PANELS.items() if name in names.split()), LAST)


def place(name: str) -> tuple[int, str]:
    """Returns what commands are sorted by."""
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)
