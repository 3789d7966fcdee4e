"""The far side of the wire: API -> typed records -> columns. Imports nothing from `pipelines`.

The register stands here, written out. To add a fifth source: a folder with the same four rooms (`__init__.py` what
we keep, `api.py` how the vendor speaks, `models.py` what it says, `fake.py` the vendor as the simulator serves it),
a line below, and a test beside the others; `tests/sources/test_house_rules.py` then holds it to what all sources
promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Source:
    """A vendor by name: its folder here, config section, dataset and, in capitals, the prefix of its settings."""

    name: str
    needs: tuple[str, ...]
    """Settings without which it cannot run."""
    split_by: str | None = None
    """What it reads one by one, so that a sync of it can be split into shards."""

    @property
    def module(self) -> Any:
        """Imported when asked for: dlt takes most of a second, `--help` must not."""
        return import_module(f"gapless.sources.{self.name}")

    @property
    def api(self) -> Any:
        return import_module(f"gapless.sources.{self.name}.api")

    @property
    def build(self) -> Any:
        """The `@dlt.source` function."""
        return getattr(self.module, self.name)


SOURCES = {
    source.name: source
    for source in (
        Source("omni", needs=("omni_api_key",), split_by="leads"),
        Source("sequence", needs=("sequence_client_id", "sequence_client_secret")),
        Source("kizen", needs=("kizen_api_key", "kizen_business_id", "kizen_user_id"), split_by="types"),
        Source("tines", needs=("tines_api_key", "tines_base_url"), split_by="actions"),
    )
}
