"""A hostile vendor's ids, names of fields and errors reach no terminal and no log as they are."""

from __future__ import annotations

import json
import subprocess

import httpx2 as httpx
import pytest

from tests.contract.commands import document, gapless, run
from tests.contract.conftest import NAMES, Begin, of
from tests.contract.subject import Subject
from tests.support.hostile import ATTACKS, FORGED, MARKUP, harmful
from tests.support.world import World

IDS = [f"a{attack}" for attack in (f"\n{FORGED}", "\x1b]0;title\x07", "\u202e", "\u2028", " && echo '", *MARKUP[:3])]
FIELDS = [f"field{attack}" for attack in (*ATTACKS, *MARKUP) if attack.encode("utf-8", "ignore").decode() == attack]
WORDS = {"type": "no\x9b2J", "code": "no\u202e", "message": f"no\r\n{FORGED}"}
COMMANDS = ("sync", "gaps", "status", "verify", "plan", "doctor", "state show", "views")


@pytest.fixture
def hostile(subject: Subject, world: Begin) -> World:
    """A vendor with such fields in a record and, where ids are texts, such ids; each such parent is refused."""
    here = world(subject.filled(3, 12)).alone()
    first, *others = subject.parents(here.fake)
    subject.add(here.fake, first, **dict.fromkeys(FIELDS, 1))
    if not subject.numbered:
        for one in IDS:  # a list in the place of a text makes it a dead letter
            subject.add(here.fake, first, **{subject.id: one, **subject.with_text(["x"])})
    if subject.add_parent and not isinstance(first, int):
        others += [subject.add_parent(here.fake, **{subject.parent_id: one})[subject.parent_id] for one in IDS]
    paths = [subject.part_of_path(other) for other in others]

    def answer(request: httpx.Request) -> httpx.Response | None:
        if any(path in request.url.path for path in paths):
            return httpx.Response(403, json={"errors": [WORDS]})
        return None

    if paths:
        here.intercept = answer
        here.may_not_fire()
    here.sync()
    return here


def command_lines(printed: str) -> list[str]:
    return [line.partition("Z ")[2] or line for line in printed.splitlines()]


@pytest.mark.slow
@of(NAMES[0])
def test_nothing_hostile_is_printed(subject: Subject, hostile: World) -> None:
    """No command prints a character that a terminal obeys, and no line that a vendor made."""
    for command in COMMANDS:
        result = gapless(hostile, *command.split())
        assert result.exit_code in (0, 1, 3), result.output
        printed = f"{result.stdout}\n{result.stderr}"
        assert harmful(printed) == [], command
        assert [line for line in command_lines(printed) if line.startswith(FORGED[:6])] == [], command


@pytest.mark.slow
@of(NAMES[0])
def test_json_has_what_is_there(subject: Subject, hostile: World) -> None:
    """Documents give ids and names as the vendor has them, without such a character; tables show the first ones."""
    result = gapless(hostile, "status", "--json")
    assert harmful(result.stdout) == []
    assert set(json.loads(result.stdout)["sources"][subject.name]["drift"][subject.main]["fields"]) == set(FIELDS)
    shown = " ".join(gapless(hostile, "status").stdout.split())
    assert f"and {len(FIELDS) - 10} more, which --json lists" in shown
    result = gapless(hostile, "gaps", "--json")
    assert harmful(result.stdout) == []
    named = {name for gap in json.loads(result.stdout)["gaps"] for name in (gap["parent"], gap["key"])}
    # Of a record that cannot be read an id that is not printable is no key: it is known by its digest.
    assert named >= {one for one in IDS if not subject.numbered and one.isprintable()}
    if subject.add_parent and subject.source.stream.by_id == "parent" and not subject.numbered:
        assert named >= set(IDS)


@pytest.mark.slow
@of(NAMES[0])
def test_printed_commands_can_be_pasted(subject: Subject, hostile: World) -> None:
    """A shell gives our program the ids as the vendor has them, and starts nothing else."""
    gaps = document(hostile, "gaps")["gaps"]
    assert gaps or not hostile.intercept
    assert harmful("".join(gap["fill"] for gap in gaps)) == []
    before = "gapless() { printf '%s\\0' \"$@\"; printf '\\1'; }\n"
    for gap in gaps:
        done = subprocess.run(
            ["bash", "-s"], input=(before + gap["fill"]).encode(), capture_output=True, check=True, timeout=10
        )
        assert done.stderr == b""
        first = done.stdout.decode().split("\1")[0].split("\0")[:-1]
        if "--id" in first:
            assert first[first.index("--id") + 1] == gap["parent"]
    by_id = [gap for gap in gaps if "--id" in gap["fill"]]
    assert bool(by_id) == (subject.source.stream.by_id == "parent" and subject.add_parent is not None)
    if by_id:
        hostile.mend()
        parent = next(gap["parent"] for gap in by_id if gap["kind"] == "failing")
        assert run("sync", subject.name, "--id", parent).exit_code == 0


@pytest.mark.slow
@of(NAMES[0])
def test_a_malformed_location_fails_one_parent(subject: Subject, world: Begin) -> None:
    """The others load, and the reason is said; a listing without parents fails as a whole in the same words."""
    here = world(subject.filled(3, 12))
    parents = subject.parents(here.fake)
    subject.add(here.fake, parents[-1])  # a parent without records may not be asked for
    part = subject.part_of_path(parents[-1]) if subject.add_parent else "/"
    nowhere = httpx.Response(302, headers=[(b"Location", b"https://$xn--0000h/\x1b[2J")])
    here.intercept = lambda request: nowhere if part in request.url.path else None
    outcome = here.sync()
    said = " ".join([outcome.error or "", *map(str, outcome.failures)])
    assert outcome.outcome == ("partial" if subject.add_parent else "failed")
    assert "the redirect points to no valid URL, but the key is for http://127.0.0.1" in said
    assert len(here.rows(subject.main)) > 0 or not subject.add_parent
    here.mend()
    here.complete()
    here.assert_exact()
