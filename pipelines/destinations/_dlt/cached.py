"""dlt's class of a destination, which works out its configuration and its capabilities once a sync."""

from __future__ import annotations

from typing import Any

from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.client import DestinationClientConfiguration
from dlt.common.normalizers.naming import NamingConvention

InitialValues = tuple[tuple[str, str], ...]
"""Name and `repr` of each."""


class CachedDestination(Destination[Any, Any]):
    """Stands before dlt's class of a destination in a list of bases; an object of it is good for one sync.

    Why: dlt asks twenty times a run for a destination's configuration and capabilities and works both out anew each
    time, which is half of all that an idle sync computes. Replaced by: the same memory in dlt.
    """

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)
        self._capabilities: dict[str | None, DestinationCapabilitiesContext] = {}
        self._configurations: dict[InitialValues, DestinationClientConfiguration] = {}

    def capabilities(
        self, config: DestinationClientConfiguration | None = None, naming: NamingConvention | None = None
    ) -> DestinationCapabilitiesContext:
        """Returns a copy of what the destination can do, worked out once for each naming convention."""
        if config is not None:
            return super().capabilities(config, naming)
        name = naming.name() if naming else None
        if name not in self._capabilities:
            self._capabilities[name] = super().capabilities(None, naming)
        # A copy, as dlt itself makes a new object each time, and changes some of them.
        return self._capabilities[name].copy()

    def configuration(
        self, initial_config: DestinationClientConfiguration, accept_partial: bool = False
    ) -> DestinationClientConfiguration:
        """Returns a copy of the resolved configuration, resolved once for each set of initial values."""
        if accept_partial or initial_config.is_resolved():
            resolved: DestinationClientConfiguration = super().configuration(initial_config, accept_partial)
            return resolved
        # By their texts, as credentials cannot be compared or hashed.
        initial = tuple((name, repr(value)) for name, value in initial_config.items())
        if initial not in self._configurations:
            self._configurations[initial] = super().configuration(initial_config)
        return self._configurations[initial].copy()
