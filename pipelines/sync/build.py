"""Builds sources with their settings from dlt's configuration. Sends no request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from inspect import signature
from typing import TYPE_CHECKING

from gapless.pipelines.config.misnamed import absent
from gapless.pipelines.errors import MissingSettings, WrongNetwork, WrongSettings
from gapless.pipelines.sync.stages import check_stages
from gapless.sources import SOURCES, Source, account_problems, left_accounts, register_problems, vendors
from gapless.sources._extract.settings import Setting, expected_number
from gapless.sources._http.environment.errors import NetworkSettingError
from gapless.sources._http.errors import KeyValueError, SettingError
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.shard import Shard

if TYPE_CHECKING:
    from dlt.sources import DltSource

HOW_TO_START = (
    "no source has its credentials, so there is nothing to sync.",
    "  to see it work without any key:            gapless demo",
    "  to be asked for the keys that you have:    gapless init",
    "  to see what is missing:                    gapless doctor",
    "  or set the variables of one source in the environment or in .dlt/secrets.toml:",
)


def build(source: Source, session: Session, **settings: object) -> DltSource:
    """Returns the dlt source. Raises WrongSettings, naming what is missing or wrong."""
    from gapless.pipelines.destinations._dlt.config import (
        ConfigFieldMissingException,
        ConfigurationException,
        ConfigValueCannotBeCoercedException,
        wrong_value,
    )

    blank = _blank(source)
    try:
        made = source.build(session=session, **settings)
    except ConfigFieldMissingException as error:
        missing = {*blank, *(field.upper() for field in error.fields)}
        raise MissingSettings(source.name, sorted(missing), *absent()) from None
    except ConfigValueCannotBeCoercedException as error:
        own = [one for one in vars(source.module).values() if isinstance(one, Setting)]
        expected = expected_number(error.field_name, source.vendor, own)
        raise _wrong_setting(source, wrong_value(error, expected)) from None
    except SettingError as error:
        if blank:
            raise MissingSettings(source.name, blank, *absent()) from None
        raise _wrong_setting(source, f"{source.name}_{error.setting}".upper() + f" {error.problem}") from None
    except NetworkSettingError as error:
        raise WrongNetwork(str(error)) from None
    except (ConfigurationException, ValueError, ImportError) as error:  # a setting may choose how dlt makes names
        if blank:
            raise MissingSettings(source.name, blank, *absent()) from None
        keys = " or ".join(need.upper() for need in source.needs if not need.endswith("_url"))
        where = f"; copy {keys} anew" if isinstance(error, KeyValueError) else ""
        raise _wrong_setting(source, f"{_said(error)}{where}") from None
    if blank:
        if session.client:
            session.client.close()
        raise MissingSettings(source.name, blank, *absent())
    return made


def _said(error: Exception) -> str:
    """Returns an error's text, in our words where dlt's do not say where a key belongs."""
    from gapless.pipelines.destinations._dlt.config import ValueNotSecretException

    if isinstance(error, ValueNotSecretException):
        return f"{error.key} stands in config.toml, where dlt takes no key; move it to secrets.toml beside it"
    return str(error)


def _blank(source: Source) -> list[str]:
    """Returns the variables of needed settings that are there and blank: they count as not set.

    dlt takes an empty variable for a value, and the vendor would answer 401.
    """
    return [need.upper() for need in source.needs if os.environ.get(need.upper(), "?").strip() == ""]


def _wrong_setting(source: Source, problem: str) -> WrongSettings:
    page = f"sources/{source.vendor}/README.md"
    return WrongSettings(f"{source.name}: {problem.rstrip('.')}. {page} explains its settings.")


def check_register() -> None:
    """Raises WrongSettings, naming each registered path that is no source, and the setting to correct."""
    if problems := list(register_problems()):
        where = "GAPLESS_SOURCES" if os.environ.get("GAPLESS_SOURCES") else "[gapless] sources in .dlt/config.toml"
        raise WrongSettings(*problems, f"Correct {where}; sources/README.md says how a source is made.")
    if problems := account_problems():
        raise WrongSettings(*problems, "Correct [accounts] in .dlt/config.toml, or the variable ACCOUNTS__NAME.")


def check_settings(source: Source, shard: Shard | None = None) -> None:
    """Builds `source` and closes it. Raises WrongSettings as a sync would."""
    check_stages(source.name)
    session = Session(shard=shard or Shard())
    build(source, session)
    if session.client:
        session.client.close()


def hosts_of_choice(names: list[str]) -> Iterator[tuple[str, str]]:
    """Yields each source whose key goes to a host that its settings chose, with scheme and host; raises nothing.

    A source without settings, or with wrong ones, is not among them: it sends no key.
    """
    for name in names:
        session = Session()
        try:
            build(SOURCES[name], session)
        except WrongSettings:
            continue
        if session.client:
            default = signature(SOURCES[name].build).parameters.get(f"{name}_base_url")
            with session.client as client:
                if default is None or client.site != default.default:
                    yield name, client.site


def known(names: list[str]) -> list[str]:
    """Returns `names`, each once. Raises WrongSettings for a name that is not a source."""
    for name in names:
        if name not in SOURCES:
            raise WrongSettings(f"there is no source {name!r}; there are {', '.join(SOURCES)}. {_meant(name)}")
    return list(dict.fromkeys(names))


def _meant(name: str) -> str:
    """Returns what to do about a name that is no source: of an account it is no slip, but a line that is missing."""
    if "," in name:
        return f"Names are separated by blanks: {' '.join(name.replace(',', ' ').split())}"
    account = name.lower().replace("-", "_")
    if vendor := next((one for one in vendors() if account.startswith(f"{one}_")), None):
        return f'No account of this name is in [accounts]: add {account} = "{vendor}" there, in .dlt/config.toml.'
    if near := get_close_matches(name.lower(), SOURCES, n=1):
        return f"Did you mean {near[0]}?"
    return "An account that the settings do not name any more is put back in [accounts]."


def configured() -> tuple[list[str], dict[str, list[str]]]:
    """Returns the sources that have their credentials, and the others with the settings each lacks."""
    ready, lacking = [], {}
    left = left_accounts()  # whose keys may still be set
    for name in (one for one in SOURCES if one not in left):
        missing = missing_settings(name)
        if missing:
            lacking[name] = missing
        else:
            ready.append(name)
    return ready, lacking


def missing_settings(name: str) -> list[str]:
    """Returns the environment variables that a source needs and does not find; an empty one counts as not set."""
    try:
        check_settings(SOURCES[name])
    except MissingSettings as error:
        return error.missing
    return []


def is_served(name: str) -> bool:
    """Returns whether the settings name an account and have its keys, so that it is synced."""
    try:
        return name not in left_accounts() and not missing_settings(name)
    except WrongSettings:  # of somebody who set it up
        return True


def nothing_configured() -> WrongSettings:
    """Returns the error for a sync without any credentials: how to start."""
    needs = [" ".join(need.upper() for need in source.needs) for source in vendors().values()]
    return WrongSettings(*HOW_TO_START, *(f"    {need}" for need in needs), *absent())
