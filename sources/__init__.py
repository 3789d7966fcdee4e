"""From a vendor's API to typed records and columns. Nothing of `pipelines` may enter.

The register of sources stands here: ours, and those that the configuration names by the dotted path of their package
(`[gapless] sources = ["acme.okta"]`, or GAPLESS_SOURCES). README.md in this folder says how to add one. Another
account of a vendor has a name of its own (`[accounts] acme_eu = "acme"`, or ACCOUNTS__ACME_EU).
"""

from __future__ import annotations

from collections.abc import Iterator

from gapless.sources.register import (
    add_accounts,
    configured_accounts,
    configured_packages,
    package_problem,
    register,
)
from gapless.sources.source import Source

# In this order they are synced and listed when no name is given.
OURS = ("omni", "sequence", "kizen", "tines")
OUR_PACKAGES = [f"{__name__}.{name}" for name in OURS]

# At import, because options, help texts and views are made from the register. It imports none of the packages.
SOURCES, _PROBLEMS = register([*OUR_PACKAGES, *configured_packages()])
_ACCOUNT_PROBLEMS = add_accounts(SOURCES, configured_accounts())
_LEFT = set[str]()


def register_problems() -> Iterator[str]:
    """Yields what is wrong with the sources that the configuration names; imports their packages."""
    yield from _PROBLEMS
    for source in SOURCES.values():
        problem = None if source.package in OUR_PACKAGES or source.is_named else package_problem(source)
        if problem:
            yield f"{source.package}: {problem}"


def account_problems() -> list[str]:
    """Returns what is wrong with the accounts that the configuration names."""
    return list(_ACCOUNT_PROBLEMS)


def reread() -> None:
    """Reads the register again, for a process that runs on: accounts come and go, and packages come.

    A source that is as it was stays the same object.
    """
    found, problems = register([*OUR_PACKAGES, *configured_packages()])
    now = {**{name: source for name, source in SOURCES.items() if not source.is_named}, **found}
    account_problems = add_accounts(now, configured_accounts())
    kept = {name: SOURCES[name] if SOURCES.get(name) == source else source for name, source in now.items()}
    if [*kept.items()] != [*SOURCES.items()]:  # else nobody who reads it at this moment is disturbed
        SOURCES.clear()
        SOURCES.update(kept)
    _PROBLEMS[:], _ACCOUNT_PROBLEMS[:] = problems, account_problems
    _LEFT.clear()


def add_left(name: str, vendor: Source) -> None:
    """Registers an account that a database holds and no setting names any more: it is read, and never synced."""
    if name not in SOURCES:
        SOURCES[name] = Source(name, vendor.package)
        _LEFT.add(name)


def left_accounts() -> list[str]:
    """Returns the accounts that are registered because a database holds them, and not by the settings."""
    return sorted(_LEFT & SOURCES.keys())


def vendors() -> dict[str, Source]:
    """Returns the sources without the accounts that have names of their own."""
    return {name: source for name, source in SOURCES.items() if not source.is_named}


__all__ = [
    "OURS", "SOURCES", "Source", "account_problems", "add_left", "left_accounts", "register_problems", "reread",
    "vendors",
]  # fmt: skip
