"""The words for a record that is too wide: how wide is too wide, and the setting that lets it in."""

from __future__ import annotations

import pytest

from gapless.sources._schema.destination_limits import TooWide, bounded, no_limits


@pytest.mark.parametrize(("megabytes", "said"), [(100, "100 MB"), (1, "1 MB"), (0.5, "0.5 MB"), (256, "256 MB")])
def test_the_message_of_a_too_wide_record(megabytes: float, said: str) -> None:
    """It names the bound as it is set, the setting, and how far that can go; a record of just that size passes."""
    check = bounded(no_limits, megabytes)
    assert check(b"x" * int(megabytes * 1e6)) is None
    found = check(b"x" * (int(megabytes * 1e6) + 1))
    assert isinstance(found, TooWide)
    assert found == (
        f"has more than {said} of JSON, so it is neither loaded nor kept here: raise"
        " GAPLESS_MAX_RECORD_MB (256 at most) to load it"
    )
