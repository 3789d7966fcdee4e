"""Types of the notebook's controls: marimo's own differ by version and are imported only when the page is served."""

from __future__ import annotations

from typing import Protocol, TypeVar

V_co = TypeVar("V_co", covariant=True)


class Control(Protocol[V_co]):
    """A control of the page, such as a menu or a switch."""

    @property
    def value(self) -> V_co:
        """Returns what the reader of the page has chosen."""
