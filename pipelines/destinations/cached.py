"""What dlt knows of a destination, looked up once for a dataset.

dlt asks twenty times a run for a destination's settings and what it can, and works both out anew each time: half of
all that an idle sync computes.
"""

from __future__ import annotations

from typing import Any

from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.client import DestinationClientConfiguration
from dlt.common.normalizers.naming import NamingConvention


class LookedUpOnce(Destination[Any, Any]):
    """To stand before dlt's class of a destination; an object of it is good for one sync."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._capabilities: dict[str | None, DestinationCapabilitiesContext] = {}
        self._configurations: dict[Any, DestinationClientConfiguration] = {}

    def capabilities(
        self, config: Any = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        if config is not None:
            return super().capabilities(config, naming)
        name = naming.name() if naming else None
        if name not in self._capabilities:
            self._capabilities[name] = super().capabilities(None, naming)
        return self._capabilities[name].copy()

    def configuration(self, initial_config: Any, accept_partial: bool = False) -> Any:
        if accept_partial or initial_config.is_resolved():
            return super().configuration(initial_config, accept_partial)
        asked = tuple((name, repr(value)) for name, value in initial_config.items())
        if asked not in self._configurations:
            self._configurations[asked] = super().configuration(initial_config)
        return self._configurations[asked].copy()
