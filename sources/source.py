"""A source by name, and what its package says about it. Knows no vendor and no register."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
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
    from gapless.sources._incremental.listing import Parents
    from gapless.sources._incremental.stream import Stream
    from gapless.sources._schema.arrow import Table


@dataclass(frozen=True)
class Source:
    """A vendor's account by name: its config section, dataset and, in capitals, the prefix of its settings.

    The first account of a vendor, or the only one, has the vendor's own name.
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
    def vendor(self) -> str:
        """Returns the vendor's name, which is the last part of the package's."""
        return self.package.rpartition(".")[2]

    @property
    def is_named(self) -> bool:
        """Returns whether it is an account with a name of its own."""
        return self.name != self.vendor

    def own(self, setting: str) -> str:
        """Returns the name that one of the vendor's settings has for this account, in the same case."""
        for vendor, name in ((self.vendor, self.name), (self.vendor.upper(), self.name.upper())):
            if setting.startswith(f"{vendor}_"):
                return name + setting.removeprefix(vendor)
        return setting

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

    @cached_property
    def build(self) -> Callable[..., DltSource]:
        """Returns the `@dlt.source` function."""
        build: Callable[..., DltSource] = getattr(self.module, self.vendor)
        return build.account(self.name) if self.is_named else build  # type: ignore[attr-defined]

    @cached_property
    def stream(self) -> Stream:
        """Returns how its records are listed and synced."""
        found: Stream = self.module.STREAM
        # Also for a stream of a user's package, which need not know of accounts.
        return replace(found, only=self.own(found.only)) if self.is_named and found.only else found  # type: ignore

    @cached_property
    def facts(self) -> Facts:
        """Returns what its `facts.toml` says; does not import it."""
        return Facts.read(self.folder / "facts.toml")

    @property
    def demo(self) -> dict[str, str]:
        """Returns the settings for the simulated vendor, without the base URL."""
        return {self.own(setting): value for setting, value in self.facts.demo.items()}

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
    def named_listings(self) -> dict[str, Parents]:
        """Returns, by noun, what it lists besides its records and people have names for: parents, stories …."""
        # A stream of a user's package need not know of side listings.
        listings = (self.stream.parents, *getattr(self.stream, "side_listings", ()))
        return {one.noun: one for one in listings if one and one.label}

    @property
    def side_nouns(self) -> dict[str, str]:
        """Returns, by table, what the listings beside its records list."""
        return {one.table.name: one.noun for one in getattr(self.stream, "side_listings", ())}

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
    def secrets(self) -> tuple[str, ...]:
        """Returns those of the settings it needs that nobody else may see."""
        import dlt

        parameters = inspect.signature(self.build).parameters
        return tuple(name for name in self.needs if parameters[name].default is dlt.secrets.value)

    @property
    def views(self) -> list[Path]:
        """Returns the files of the views about this source alone; `timeline.sql` is its part of the timeline."""
        return sorted((self.folder / "views").glob("*.sql"))
