"""A record that is asked for by its id: only that record is believed, and only its listing shows that it is gone."""

from __future__ import annotations

from datetime import timedelta

import httpx2 as httpx
import pytest

from tests.contract.commands import gapless, gaps
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.support.world import World, some

JOBS = ("sync", "id", "backfill", "letter")


def letter(subject: Subject, here: World) -> str:
    """Adds a bad record that has a dead letter and is older than the look-back; returns its id."""
    bad = str(subject.add_one(here.fake, at=here.fake.now - timedelta(hours=30), **subject.with_text([])))
    here.set(**{f"{subject.prefix}_LAG": str(2 * 24 * 3600)})
    assert here.sync().outcome == "partial"
    here.set(**{f"{subject.prefix}_LAG": "3600"})
    return bad


@pytest.mark.slow
@pytest.mark.parametrize("job", some(JOBS, "id"))
def test_another_record_comes(job: str, subject: Subject, synced: World) -> None:
    """A cache mixes up its answers: what was not read is a failure, and is read when the vendor is whole."""
    if subject.source.stream.by_id != "record":
        pytest.skip("a record cannot be asked for")
    if not subject.one_by_one and job in ("sync", "backfill"):
        pytest.skip("pages hold whole records")
    ago = synced.fake.now - timedelta(minutes=5)
    new = letter(subject, synced) if job == "letter" else str(subject.add_one(synced.fake, at=ago))
    subject.edit(synced.fake, new, "mended")
    other = str(min(subject.records(synced.fake), key=lambda row: str(row[subject.time]))[subject.id])

    def mixed_up(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(f"/{new}"):
            return None
        url = str(request.url).replace(new, other)
        answer: httpx.Response = synced.fake.handle(httpx.Request(request.method, url, headers=request.headers))
        return answer

    synced.intercept = mixed_up
    since = (synced.fake.now - timedelta(hours=1)).isoformat()
    words = {
        "id": ("sync", subject.name, "--id", new),
        "backfill": ("backfill", subject.name, "--since", since, "--until", synced.fake.now.isoformat()),
    }
    code = gapless(synced, *words.get(job, ("sync", subject.name))).exit_code
    if code == 0:  # its listing has whole records, and was read down to its place
        assert job == "letter"
        synced.assert_exact()
        return
    assert code == 3
    assert ("record", new) in [(kind, key) for kind, key, _ in synced.letters()]
    assert gaps(synced)
    synced.mend()
    gapless(synced, *words.get(job, ("sync", subject.name)))
    synced.complete()
    synced.assert_exact()
    assert gaps(synced) == []


@pytest.mark.slow
@pytest.mark.parametrize("status", some((400, 403, 500), 400))
@of(NAMES[1])
def test_a_bad_record_that_goes_and_is_no_404(status: int, subject: Subject, synced: World) -> None:
    """The vendor has another answer for what it has not: the listing, read to its place, shows that it is gone."""
    if subject.source.stream.by_id != "record" or subject.one_by_one:
        pytest.skip("no page holds whole records, or none is asked for")
    bad = letter(subject, synced)
    synced.fake.failing[f"/{bad}"] = status
    for _ in range(4):  # it is still listed
        assert synced.sync().outcome == "partial"
        assert [(kind, key) for kind, key, _ in synced.letters()] == [("record", bad)]
    synced.fake.delete(bad)
    for _ in range(3):
        synced.sync()
    synced.complete()
    assert gaps(synced) == []
