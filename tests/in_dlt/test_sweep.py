"""The idioms of idioms.py on every source, compared row by row with what the vendor has.

After each, one plain run follows: then everything must be there, once, and dlt has not said a word.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from gapless.sources import SOURCES
from tests.contract.conftest import FIFTH, NAMES
from tests.in_dlt.conftest import User
from tests.in_dlt.idioms import IDIOMS, Idiom

pytestmark = [pytest.mark.sweep, pytest.mark.filterwarnings("default")]


REGISTERED = {**SOURCES, **FIFTH}
EACH = 2
"""Sources for each idiom: about two minutes of CPU each; len(NAMES) tries all."""


def cases() -> Iterator[object]:
    """Each idiom on some sources in turn, and on each in another form."""
    for number, one in enumerate(IDIOMS):
        for turn in range(EACH):
            names = [name for name in NAMES if one.fits(REGISTERED[name])]
            name = names[(number + 2 * turn) % len(names)]
            form = one.forms[(number // len(NAMES) + turn) % len(one.forms)]
            yield pytest.param(name, one, form, id=f"{name}-{one.name}-{'rows' if form else 'arrow'}")


@pytest.mark.parametrize(("name", "idiom", "form"), [*cases()])
def test_an_idiom(user: User, idiom: Idiom, form: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It loads everything, or a part, or nothing and sends no request; the plain run after it has all."""
    user.world.set(RUNTIME__LOG_LEVEL="WARNING")
    source = user.source(rows=form)
    source.rows = form
    with heard(caplog):
        if idiom.refused:
            with pytest.raises(PipelineStepFailed) as refusal:
                idiom.run(user, source)
            assert idiom.refused in str(refusal.value)
            assert user.fake.requests == []
        else:
            idiom.run(user, source)
            assert idiom.partly or user.differences() == []
        user.pipeline().run(user.source(rows=form))
        assert user.differences() == []
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert idiom.warns or said == []


@contextmanager
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """dlt's logger hands nothing on to others."""
    log = logging.getLogger("dlt")
    log.addHandler(caplog.handler)
    try:
        yield
    finally:
        log.removeHandler(caplog.handler)
