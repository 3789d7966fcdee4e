"""A source by name, and what its package says about it. Knows no vendor and no register."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gapless.sources.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlt.sources import DltSource

    from gapless.sources._http.fake_vendor import FakeVendor
    from gapless.sources._incremental.stream import Stream
    from gapless.sources._schema.arrow import Table


@dataclass(frozen=True)
class Source:
    """A vendor by name: its config section, dataset and, in capitals, the prefix of its settings.

    Its package is imported on first use, because importing dlt takes most of a second and `--help` must not.
    """

    name: str
    package: str
    """Dotted path."""

    @classmethod
    def at(cls, package: str) -> Source:
        """Returns the source whose package has this dotted path; the last part is its name."""
        return cls(package.rpartition(".")[2], package)

    @property
    def module(self) -> ModuleType:
        """Returns the imported package. Raises ImportError."""
        return import_module(self.package)

    @property
    def api(self) -> ModuleType:
        """Returns the imported module `api`. Raises ImportError."""
        return import_module(f"{self.package}.api")

    @property
    def fake(self) -> type[FakeVendor]:
        """Returns the class of the simulated vendor."""
        fake: type[FakeVendor] = import_module(f"{self.package}.fake").Fake
        return fake

    @property
    def build(self) -> Callable[..., DltSource]:
        """Returns the `@dlt.source` function."""
        build: Callable[..., DltSource] = getattr(self.module, self.name)
        return build

    @property
    def stream(self) -> Stream:
        """Returns how its records are listed and synced."""
        found: Stream = self.module.STREAM
        return found

    @cached_property
    def facts(self) -> Facts:
        """Returns what its `facts.toml` says; does not import it."""
        return Facts.read(self.folder / "facts.toml")

    @property
    def folder(self) -> Path:
        """Returns the folder of its files; does not import it. Raises ModuleNotFoundError if it is not there."""
        # It imports the packages above, but not this one, which would import dlt.
        found = find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            problem = f"the source {self.package} is registered, and there is no such package"
            raise ModuleNotFoundError(problem, name=self.package)
        return Path(next(iter(found.submodule_search_locations)))

    @property
    def tables(self) -> tuple[Table, ...]:
        """Returns every root table: the records', then the parents', then others."""
        return self.stream.tables

    @property
    def main(self) -> Table:
        """Returns the records' table."""
        return self.stream.table

    @property
    def split_by(self) -> str | None:
        """Returns what people call its parents, by which a sync can be split into shards; None: it cannot."""
        parents = self.stream.parents
        return parents.noun if parents else None

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Returns the settings without which it cannot run."""
        import dlt

        # dlt marks a required setting by one of these two objects as the default, and compares by identity itself.
        required = (dlt.secrets.value, dlt.config.value)
        parameters = inspect.signature(self.build).parameters.values()
        return tuple(one.name for one in parameters if any(one.default is mark for mark in required))

    @property
    def views(self) -> list[Path]:
        """Returns the files of the views about this source alone; `timeline.sql` is its part of the timeline."""
        return sorted((self.folder / "views").glob("*.sql"))
