"""A first sync that is killed before its first load leaves no database that seems to want nothing."""

from __future__ import annotations

import sys

import httpx2 as httpx
import pytest

from gapless.pipelines.sync import run
from tests.contract.commands import document, fill, gaps
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support import warm
from tests.support.world import LET_THROUGH, World


def killed(here: World, *words: str) -> None:
    """Runs a command in a process of its own, which is killed at its first request."""
    command = [sys.executable, "-m", "gapless.pipelines", *words, "--destination", here.database.name]

    def kill(request: httpx.Request) -> httpx.Response:
        process.kill()
        return LET_THROUGH

    with warm.Popen(command, stdout=-1, stderr=-1, stdin=-1) as process:
        here.intercept = kill
        process.communicate("", 60)
    here.mend()


@pytest.mark.parametrize("words", [(), ("--since", "2020-01-01")], ids=["of everything", "of a window"])
@of(NAMES[1])
def test_a_first_sync_that_is_killed(subject: Subject, world: Begin, words: tuple[str, ...]) -> None:
    """It is told until a sync comes to its end, whatever that one reads."""
    here = world(subject.filled())
    killed(here, "sync", subject.name, *words)
    told = gaps(here)
    assert [(gap["kind"], gap["fill"]) for gap in told] == [("not asked", f"gapless sync {subject.name}")]
    assert "killed" in told[0]["why"]
    assert document(here, "gaps")["ok"] is False
    fill(here, told)
    assert gaps(here) == []
    here.assert_exact()


@pytest.mark.slow
@of(NAMES[1])
def test_a_first_sync_that_breaks_off_has_this_layout(
    subject: Subject, world: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of an older layout that never was."""
    here = world(subject.filled())

    def interrupted(packages: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "release_memory", interrupted)
        with pytest.raises(KeyboardInterrupt):
            here.sync(package_records=3)
    assert "layout" not in (here.sync().note or "")
    here.complete()
