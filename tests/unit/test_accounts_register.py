"""Which accounts the register takes, and what it says of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapless.sources.register import LONGEST, add_accounts, configured_accounts
from gapless.sources.source import Source

VENDORS = {name: Source(name, f"packages.{name}") for name in ("acme", "other")}


def test_an_account_is_a_source() -> None:
    """It has the vendor's package, and its own name in each of the vendor's settings."""
    sources = dict(VENDORS)
    assert add_accounts(sources, {"acme_eu": "acme", "x": "other"}) == []
    assert [*sources] == ["acme", "other", "acme_eu", "x"]
    account = sources["acme_eu"]
    assert (account.package, account.vendor, account.is_named) == ("packages.acme", "acme", True)
    assert [account.own(one) for one in ("acme_key", "ACME_KEY", "gapless_key")] == [
        "acme_eu_key", "ACME_EU_KEY", "gapless_key",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "vendor", "said"),
    [
        ("x", "nobody", "'nobody' is no vendor's name; expected one of acme, other"),
        ("x", "acme_eu", "is no vendor"),
        ("x", 3, "is no vendor"),
        ("other", "acme", "a vendor's name"),
        ("Acme_EU", "acme", "small letters"),
        ("acme__eu", "acme", "small letters"),
        ("acme-eu", "acme", "small letters"),
        ("1acme", "acme", "small letters"),
        ("a" * (LONGEST + 1), "acme", "56 characters"),
        ("main", "acme", "another meaning"),
        ("activity", "acme", "another meaning"),
        ("information_schema", "acme", "another meaning"),
        ("pg_toast", "acme", "another meaning"),
        ("sync", "acme", "another meaning"),
        ("select", "acme", "another meaning"),
        ("default", "acme", "another meaning"),
        ("gapless", "acme", "another meaning"),
        ("acme_staging", "acme", "_staging"),
    ],
)
def test_a_name_that_cannot_be(name: str, vendor: object, said: str) -> None:
    """Nothing is made of it, and the others are."""
    sources = dict(VENDORS)
    (problem,) = add_accounts(sources, {name: vendor, "acme_us": "acme"})
    assert problem.startswith(f"[accounts] {name}: ")
    assert said in problem
    assert sources.keys() - VENDORS.keys() == {"acme_us"}


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with all settings."""
    (tmp_path / ".dlt").mkdir()
    (tmp_path / ".dlt" / "config.toml").write_text('[accounts]\nacme_eu = "acme"\nacme_us = "acme"\n')
    monkeypatch.setenv("ACCOUNTS__ACME_EU", "other")
    assert configured_accounts() == {"acme_eu": "other", "acme_us": "acme"}
    (tmp_path / ".dlt" / "config.toml").chmod(0o646)  # somebody else may have written it
    assert configured_accounts() == {"acme_eu": "other"}
