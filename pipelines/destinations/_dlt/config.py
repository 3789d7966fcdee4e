"""dlt's configuration beyond `dlt.config` and `dlt.secrets`: its errors, its providers, a value's origin."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
    ConfigValueCannotBeCoercedException,
    ValueNotSecretException,
)
from dlt.common.configuration.providers.dictionary import DictionaryProvider
from dlt.common.configuration.providers.doc import BaseDocProvider
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.configuration.specs import PluggableRunContext
from dlt.common.configuration.specs.config_providers_context import ConfigProvidersContainer
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from dlt.extract.incremental.context import TimeIntervalContext

from gapless.pipelines.config import DLT_SETTINGS
from gapless.pipelines.destinations._dlt import cached, toml_files
from gapless.pipelines.errors import WrongSettings, summarize
from gapless.sources._dlt.internals import settings_files
from gapless.sources._files.writers import refusal

__all__ = [
    "ConfigFieldMissingException",
    "ConfigValueCannotBeCoercedException",
    "ConfigurationException",
    "MissingDependencyException",
    "TomlProviderReadException",
    "UnknownDestinationModule",
    "ValueNotSecretException",
    "configuration",
    "documents",
    "read_again",
    "refuse_foreign",
    "resolved_settings",
    "without_interval",
    "wrong_value",
]
"""The exceptions are dlt's, raised by documented calls, but documented nowhere. They become messages of ours that
name the setting to correct. Replaced by: the same names below `dlt` or `dlt.pipeline.exceptions`."""


NAMED: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
"""What people call the types of settings."""


QUOTED = re.compile(r"[\w.,:/%+ -]{1,12}")
"""Values that a message may repeat: a key that was put into the wrong setting is longer."""


def wrong_value(error: ConfigValueCannotBeCoercedException, expected: str | None = None) -> str:
    """Returns the setting of which dlt could not use the value, the value, and what it must be."""
    value, name = str(error.field_value), error.field_name.upper().replace(".", "__")
    found = f" is {value!r}; it" if QUOTED.fullmatch(value) else ""
    return f"{name}{found} must be {expected or NAMED.get(error.hint, 'a value of another kind')}"


# Before anybody asks for a setting, because dlt reads its files then.
toml_files.read_by_us()
cached.load_later()  # dlt loads it as soon as it is asked for its configuration


@dataclass(frozen=True)
class ResolvedSetting:
    """One setting as dlt found it; `value` as the provider holds it (in the environment a text), maybe a secret."""

    key: str
    value: Any
    origin: str
    """The file or the environment, as dlt names it."""


def resolved_settings(look_up: Callable[[], object]) -> list[ResolvedSetting]:
    """Returns what dlt finds in its configuration while `look_up` runs.

    Why: `doctor` says where a key comes from, and `plan` and `verify` read a source's optional settings. dlt's log of
    what it resolved is the only place that has both; it is emptied afterwards, as it holds the secrets, too.
    Replaced by: a documented function that resolves a source's arguments and says where each was found.
    """
    log = get_resolved_traces()
    log.clear()
    try:
        look_up()
        return [
            ResolvedSetting(trace.key, trace.value, trace.provider_location or trace.provider_name)
            for trace in log.resolved_traces
        ]
    finally:
        log.clear()


def documents() -> list[dict[str, object]]:
    """Returns the contents of every TOML document in which dlt looks for settings, secrets among them.

    Why: a misspelt section or key is to be named, and redaction must know every secret, also of settings that it has
    never heard of; `dlt.config` and `dlt.secrets` answer only for names that are asked for. Replaced by: a documented
    list of dlt's providers. Raises TomlProviderReadException when a file is not valid TOML.
    """
    providers = Container()[PluggableRunContext].providers.providers
    return [tomllib.loads(provider.to_toml()) for provider in providers if isinstance(provider, BaseDocProvider)]


def read_again() -> None:
    """Makes dlt read its files again, for a key that was changed while the process runs.

    Why: dlt reads them once in a process, and `sync --every` lives for months. Replaced by: a documented call for it.
    Raises TomlProviderReadException when a file is not valid TOML; then what was read before stays.
    """
    Container()[PluggableRunContext].reload_providers()


def refuse_foreign() -> None:
    """Raises WrongSettings, naming the first file that dlt has read settings from although others can write it.

    For files that dlt read before this module was imported, as a scheduler's process may; from then on `toml_files`
    looks before it reads. Raises it, too, when dlt cannot begin with its own settings: it reads those first.
    """
    try:
        files = [*settings_files()]
    except (ValueError, ImportError, ConfigurationException) as error:
        if isinstance(error, TomlProviderReadException):
            raise
        ours = DLT_SETTINGS.items()
        set_here = sorted({name for name in os.environ.items() if name[0].startswith("RUNTIME__")}.difference(ours))
        variables = ", ".join(name for name, _ in set_here)
        where = f" ({variables} in the environment)" if variables else ""
        raise WrongSettings(
            f"a setting in dlt's section [runtime]{where} cannot be used: {summarize(error)}."
        ) from None
    if problem := next(filter(None, map(refusal, files)), None):
        raise WrongSettings(f"{problem}.")


@contextmanager
def configuration(values: Mapping[tuple[str, ...], object]) -> Iterator[None]:
    """Makes `values` (sections and key -> value) dlt's whole configuration while the block runs.

    Why: the demo must not meet a person's own keys, files or environment. Replaced by: a documented way to run with
    a given list of providers.
    """
    provider, context = DictionaryProvider(), Container()[PluggableRunContext]
    for (*sections, key), value in values.items():
        provider.set_value(key, value, None, *sections)
    before = context.providers
    context.providers = ConfigProvidersContainer([provider])
    try:
        yield
    finally:
        context.providers = before


class _NoInterval(TimeIntervalContext):
    """An interval that is never there; dlt's own looks for a task's whenever it was given none."""

    def _detect(self) -> None:
        return None


@contextmanager
def without_interval() -> Iterator[None]:
    """Hides a scheduler's interval from dlt while the block runs.

    Why: under Airflow dlt takes the task's data interval for the time span to read, also for runs that a person or a
    dataset started, where it is a moment. Replaced by: a documented switch that turns the detection off.
    """
    container = Container()
    before = container[TimeIntervalContext]
    container[TimeIntervalContext] = _NoInterval()
    try:
        yield
    finally:
        container[TimeIntervalContext] = before
