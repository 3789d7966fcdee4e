"""What `help()` says of a source: what it returns, the units of its arguments, and the errors that it raises."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import dlt
import pytest
from dlt.common.configuration.exceptions import ConfigFieldMissingException
from dlt.pipeline.exceptions import PipelineStepFailed

from gapless.sources import SOURCES
from gapless.sources._http.errors import SettingError, VendorError
from tests.contract.subject import filled
from tests.support.world import World

FIRST = next(iter(SOURCES))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


@pytest.mark.parametrize("name", SOURCES)
def test_help(name: str) -> None:
    """The source's own sentence first, then what all of them share."""
    own, *shared = (inspect.getdoc(SOURCES[name].build) or "").split("\n\n")
    assert own.endswith((".", "read."))
    text = " ".join(shared)
    for word in ("Arrow tables", "seconds", "megabytes", "ISO 8601", "SettingError", "PipelineStepFailed"):
        assert word in text


@pytest.mark.slow
def test_the_errors_are_those(world: Callable[[Any], World], monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting out of bounds, a key that is refused, and one that is missing."""
    here, build = world(filled(FIRST)), SOURCES[FIRST].build
    with pytest.raises((SettingError, ValueError), match="REQUESTS_PER_MINUTE"):
        build(**{f"{FIRST}_requests_per_minute": -1})
    here.fail_after(0, status=401)
    pipeline = dlt.pipeline("refused", destination=dlt.destinations.duckdb("refused.duckdb"), pipelines_dir="work")
    with pytest.raises(PipelineStepFailed) as raised:
        pipeline.run(build())
    assert any(isinstance(error, VendorError) for error in causes(raised.value))
    monkeypatch.delenv(SOURCES[FIRST].needs[0].upper())
    with pytest.raises(ConfigFieldMissingException):
        build()
