"""One source as everybody sees it: what stands in its package, asked for by name. Knows no vendor and no register."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapless.sources.facts import Facts

if TYPE_CHECKING:
    from gapless.sources._incremental.stream import Stream
    from gapless.sources._schema.arrow import Table


@dataclass(frozen=True)
class Source:
    """A vendor by name: its config section, dataset and, in capitals, the prefix of its settings.

    Its package is imported when it is first asked for something: dlt takes most of a second, `--help` must not.
    """

    name: str
    package: str
    """Dotted path."""

    @classmethod
    def at(cls, package: str) -> Source:
        """Returns the source whose package has this dotted path; the last part is its name."""
        return cls(package.rpartition(".")[2], package)

    @property
    def module(self) -> Any:
        return import_module(self.package)

    @property
    def api(self) -> Any:
        return import_module(f"{self.package}.api")

    @property
    def fake(self) -> Any:
        """The class of the simulated vendor."""
        return import_module(f"{self.package}.fake").Fake

    @property
    def build(self) -> Any:
        """The `@dlt.source` function."""
        return getattr(self.module, self.name)

    @property
    def stream(self) -> Stream:
        """How its records are listed and synced."""
        found: Stream = self.module.STREAM
        return found

    @cached_property
    def facts(self) -> Facts:
        """What is known of it besides how it is read; does not import it."""
        return Facts.read(self.folder / "facts.toml")

    @property
    def folder(self) -> Path:
        """Where its files are. Raises ModuleNotFoundError if there is no such package; does not import it."""
        found = find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            problem = f"the source {self.package} is registered, and there is no such package"
            raise ModuleNotFoundError(problem, name=self.package)
        return Path(next(iter(found.submodule_search_locations)))

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every root table: the records', then the parents', then others."""
        return self.stream.tables

    @property
    def main(self) -> Table:
        """The records' table."""
        return self.stream.table

    @property
    def split_by(self) -> str | None:
        """What it reads one by one, so that a sync of it can be split into shards."""
        parents = self.stream.parents
        return parents.noun if parents else None

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Settings without which it cannot run."""
        import dlt

        required = (dlt.secrets.value, dlt.config.value)
        parameters = inspect.signature(self.build).parameters.values()
        return tuple(one.name for one in parameters if any(one.default is mark for mark in required))

    @property
    def views(self) -> list[Path]:
        """The files of the views that are about this source alone; `timeline.sql` is its part of the timeline."""
        return sorted((self.folder / "views").glob("*.sql"))
