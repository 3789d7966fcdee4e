"""The runbook has a next step for whatever the code can say; what there is to say is read from the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from gapless.pipelines import errors
from gapless.pipelines.cli import doctor
from gapless.pipelines.evidence import gap
from gapless.pipelines.evidence.gap import Commands, Kind
from gapless.pipelines.observability import webhook
from gapless.sources import SOURCES
from gapless.sources._http.errors import VendorError
from gapless.sources._ledger import dead_letters, markers
from gapless.sources._ledger.session import FailureKind
from tests.docs.test_readme import README, tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "pipelines" / "docs" / "RUNBOOK.md").read_text()
PIPELINES = sorted((ROOT / "pipelines").glob("**/*.py"))


def rows(title: str) -> dict[str, list[str]]:
    """First cell -> the others, of all tables in one chapter; each row has a text in every cell."""
    chapter = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0] + "\n"
    found = {row[0].strip("`"): row[1:] for _, *body in tables(chapter) for row in body}
    assert all(all(cells) for cells in found.values())
    return found


def leaves(kind: type[Exception]) -> Iterator[type[Exception]]:
    """The classes below one that have none below them."""
    below = [child for child in kind.__subclasses__() if child.__module__.startswith("gapless.")]
    if not below:
        yield kind
    for child in below:
        yield from leaves(child)


def test_exit_codes() -> None:
    """Each of them, with the word that --json has for it; the README's table has the same ones."""
    codes = {name: value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert set(codes.values()) == set(errors.OUTCOMES)
    assert {code: outcome for code, (outcome, *_) in rows("Exit codes").items()} == {
        str(code): outcome for code, outcome in errors.OUTCOMES.items()
    }
    (table,) = [body for (first, *_), *body in tables(README) if first == "exit code"]
    assert {row[0] for row in table} == {str(code) for code in errors.OUTCOMES}


def test_gaps() -> None:
    """Each kind, and no other; mypy holds the code to them."""
    commands = {row for row in rows("Gaps") if row.startswith("gapless ")}
    assert rows("Gaps").keys() - commands == set(get_args(Kind))


@pytest.mark.parametrize("name", SOURCES)
def test_remedies(name: str) -> None:
    """Each command that fills a gap; those with values of their own in a form that fits them."""
    made = Commands(SOURCES[name], "NAME")
    fills = [made.sync(), made.sync("7"), made.repair, made.acknowledge("TIME"), made.reset]
    reasons = (gap.MISSING, gap.DIFFERS, dead_letters.NOT_COPIED, "other")
    kinds = get_args(FailureKind)
    streams = [table.name for table in SOURCES[name].tables]
    fills += [made.retry(stream, kind, "7", why) for stream in streams for kind in kinds for why in reasons]
    typed = {made.typed(fill).replace(" --destination NAME", "").replace(name, "SOURCE") for fill in fills}
    shown = {row.replace("--id ID", "--id 7").replace("`, then `", " && ") for row in rows("Gaps")}
    assert {fill for fill in typed if fill not in shown} == set()


def test_answers_of_a_vendor() -> None:
    """Each class of error that a request can end with."""
    assert rows("When a source fails as a whole").keys() == {kind.__name__ for kind in leaves(VendorError)}


def test_reasons() -> None:
    """Each beginning that tells one reason from another."""
    modules = (markers, dead_letters, gap)
    begins = {
        value.strip("`")
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and re.fullmatch(r"[a-z][a-z :]*(: |by )", value)
    }
    assert len(begins) >= 8
    assert {f"{row} " if not row.endswith(" ") else row for row in rows("How a reason begins")} == begins


def test_messages() -> None:
    """Each class of error of ours, as the files declare them."""
    declared = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for file in PIPELINES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    ours = {"GaplessError"}
    for _ in declared:
        ours |= {name for name, bases in declared.items() if bases & ours}
    assert rows("Messages of the command").keys() == ours


def test_what_is_refused_for_safety() -> None:
    """Each part of a message stands in the code."""
    code = "\n".join(file.read_text() for file in [*PIPELINES, *(ROOT / "sources").glob("_*/**/*.py")])
    said = {part.strip() for message in rows("Refused for safety") for part in message.split("…")}
    assert {part for part in said if part not in code} == set()


def test_the_doctor() -> None:
    """Each check; the versions are those of libraries."""
    source = "\n".join(file.read_text() for file in Path(str(doctor.__file__)).parent.glob("*.py"))
    checks = set(re.findall(r'Check\(\s*f?"(?:\{[\w.]+\} )?(\w+)"', source)) | set(
        re.findall(r'f"\{source.name\} (key)"', source)
    )
    assert rows("The doctor").keys() == checks


def test_the_webhook() -> None:
    """Each event."""
    assert rows("The webhook").keys() == set(webhook.KINDS)


def test_events_of_the_log() -> None:
    """Each event of a JSON line stands on the page about logs."""
    page = (ROOT / "pipelines" / "docs" / "OBSERVING.md").read_text().split("## Traces", 1)[0]
    told = {name for row in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    written = {name for file in PIPELINES for name in re.findall(r'\bevent"?[=:] ?"(\w+)"', file.read_text())}
    assert written - told == set()
    assert {"failure", "webhook", "left_out"} <= written
