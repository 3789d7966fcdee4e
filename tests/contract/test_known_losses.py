"""Losses that are known: what is named ends the alarm, and no copy of the file hides one."""

from __future__ import annotations

import pytest

from tests.contract.commands import gapless, gaps, lose
from tests.contract.conftest import NAMES, of
from tests.contract.subject import Subject
from tests.contract.test_proofs import lost
from tests.support.postgres import Server
from tests.support.world import World


@pytest.mark.slow
@of(NAMES[1])
def test_a_sync_that_brought_back_some_of_what_is_lost(subject: Subject, synced: World) -> None:
    """The repair that is named ends the alarm, also about the rows below what the sync had brought back."""
    time = subject.column(subject.time)
    newest = f"select _dlt_id from {subject.main} order by {time} desc limit 7"
    lose(synced, f"_dlt_id in ({newest})")  # some of them within the look-back
    assert synced.sync().outcome == "partial"
    result = gapless(synced, "verify", subject.name, "--repair")
    assert (result.exit_code, gaps(synced)) == (0, []), result.output
    synced.complete()
    synced.assert_exact()


@pytest.mark.slow
@of(NAMES[-1])
def test_a_copy_of_a_file_with_a_loss(
    subject: Subject, synced: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy lacks the same, and says so until it is repaired or copied again from a file that is."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server.database())
    there, copied = ("--destination", "postgres"), ("copy", "--to", "postgres")
    lost(subject, synced)
    assert synced.sync().outcome == "partial"
    assert gaps(synced)
    codes = [gapless(synced, *command).exit_code for command in (copied, ("gaps", *there))]
    assert codes == [3, 3]
    assert gapless(synced, "verify", subject.name, "--repair").exit_code == 0
    codes = [gapless(synced, *command).exit_code for command in (copied, ("gaps", *there))]
    assert codes == [0, 0]
    verified = gapless(synced, "verify", subject.name, "--whole", *there)
    assert verified.exit_code == 0, verified.output


@pytest.mark.slow
@of(NAMES[0])
def test_a_copy_of_a_file_that_lacks_a_row_below(
    subject: Subject, synced: World, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of the copy says so itself: a sync of it ends as `gaps` does, and the repair ends both."""
    if not subject.source.main.schema.children:
        pytest.skip("no rows are below its records")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server.database())
    there = ("--destination", "postgres")
    child = subject.source.main.schema.children[0].name
    synced.database.change(
        subject.name,
        f"delete from {child} where _dlt_id = (select min(_dlt_id) from {child} where _dlt_list_idx = 0)",
    )
    commands = (("copy", "--to", "postgres"), ("sync", subject.name, *there), ("gaps", *there))
    assert [gapless(synced, *command).exit_code for command in commands] == [3, 3, 3]
    repair = ("verify", subject.name, "--repair", *there)
    assert [gapless(synced, *command).exit_code for command in (repair, *commands[1:])] == [0, 0, 0]
