"""Checks the destination: whether it can be found, opened and written to, and what is wrong or open in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from gapless.pipelines.cli.doctor import probe
from gapless.pipelines.cli.doctor.check import Check
from gapless.pipelines.destinations import publish
from gapless.pipelines.destinations._catalogs.obstacle import Obstacle
from gapless.pipelines.destinations.backend import Part
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.unfinished import sentence, unfinished
from gapless.pipelines.errors import GaplessError, InUse, Locked, WrongSettings, explain, next_step
from gapless.pipelines.evidence import sentences
from gapless.pipelines.evidence.grouping import Problem
from gapless.pipelines.evidence.structure import Damage
from gapless.pipelines.printable import command
from gapless.sources import SOURCES
from gapless.sources._files.writers import weaknesses
from gapless.sources._schema.layout import LAYOUT

REFUSED = (
    "Check its credentials, rights (CREATE on the database and its schemas) and space, and that it is no standby."
)
CLOSED = re.compile(r"permission denied for (\w+) (\w+)")
"""What Postgres says of what a role may not use, with its kind and its name."""
GRANTS = {"schema": "usage, create on schema", "database": "create, temporary on database"}
GRANT_TABLE = "select, insert, update, delete on table"


def check_destination(destination: str, configured: list[str]) -> Iterator[Check]:
    """Checks that the destination can be found, locked, opened and written to as the configured sources need it."""
    try:
        target = Target.find(destination)
    except WrongSettings as error:
        yield Check("destination", "fail", str(error), "Correct its name or its credentials in dlt's configuration.")
        return
    where = str(target.file or target.destination)
    try:
        with (
            target.lock() as folder,
            probe.left_as_found(target),
            target.opened(),
            target.backend.guarded(Part()),
        ):
            accounts = probe.accounts(target)
            blocked = [] if target.appends else list(probe.blocked(target, configured))
            free = [name for name in SOURCES if name not in dict(blocked)]
            missing = [] if target.appends else list(probe.damaged(target, free))
            whole = [name for name in probe.synced_datasets(target, free) if name not in dict(missing)]
            layouts = probe.layouts(target, whole)
            changed = list(probe.changed_policies(target, whole))
            others = list(probe.other_accounts(target, [name for name in whole if name in configured]))
            left = unfinished(target, whole)
            problems = [one for one in probe.known_problems(target, whole) if one.kind != "privacy"]
            probe.require_room(target, str(folder))
            probe.write_and_roll_back(target, str(folder), whole)
    except InUse as error:
        remedy = (
            "Close the file in that program, or let people read a copy." if target.file else "It ends with its owner."
        )
        yield Check("destination", "fail", str(error), remedy)
        return
    except Locked:
        yield Check("lock", "fail", f"another sync is writing to {where}", "Wait until it has ended.")
        return
    except GaplessError as error:
        yield Check("destination", "fail", str(error), _remedy_of(error, target))
        return
    # Drivers and dlt raise errors of many classes, and a check reports all of them.
    except Exception as error:
        told = explain(error).partition("; gapless doctor ")[0]  # which is this one
        yield Check("destination", "fail", f"{where}: {told}", _remedy_there(error, told))
        return
    yield Check("destination", "ok", f"{where} is writable")
    yield from _tables(target, blocked, missing)
    yield from _layout(layouts)
    yield from (Check(f"{name} account", "fail", found, remedy) for name, found, remedy in others)
    for name, typed in changed:
        remedy = f"{typed}: then all rows are as this policy says."
        yield Check(f"{name} privacy", "fail", "older rows are as another policy left them", remedy)
    yield from _left_open(target, problems, left, accounts)
    yield Check("lock", "ok", "free")
    yield from _access(target)
    yield from _published(target)


def _remedy_of(error: GaplessError, target: Target) -> str:
    """Returns what to do about a destination that could not be opened, or may not be written to."""
    if isinstance(error, WrongSettings):
        return "Correct that setting."
    if isinstance(error, probe.NoRoom):
        return "Make room there. What is committed stays, and the next sync goes on by itself."
    if isinstance(error, probe.NotWritable):
        return "Let this user write there, or choose another folder."
    if target.file is None:
        return f"Correct that, or choose another with DESTINATION__{target.destination.upper()}__CREDENTIALS."
    return "Choose another with DESTINATION__DUCKDB__CREDENTIALS=PATH."


def _remedy_there(error: Exception, told: str) -> str:
    """Returns what to do about a destination that refused the doctor's rows."""
    if "this process is at its limit" in told:
        return "Give this process more of it."
    if found := CLOSED.search(told):
        return f"Its owner ends that: grant {GRANTS.get(found[1], GRANT_TABLE)} {found[2]} to this role;"
    return "Its owner ends that." if next_step(error) and "doctor" not in told else REFUSED


def _left_open(
    target: Target, problems: Iterable[Problem], erasures: Iterable[str], accounts: Iterable[tuple[str, str]]
) -> Iterator[Check]:
    """Says what syncs, erasures and changed settings have left open, which is no failed check: a sync works."""
    yield from (Check(name, "-", text) for name, text in accounts)
    for problem in problems:
        said = sentences.sentence(problem).removeprefix(f"{problem.source}: ")
        yield Check(f"{problem.source} data", "-", said.partition("; `gapless doctor")[0])  # which is this command
    for name in erasures:
        yield Check(f"{name} erasure", "-", sentence(name, target.destination).removeprefix(f"{name}: "))


def _access(target: Target) -> Iterator[Check]:
    """Says who else on this machine can read or change the database; a mode that somebody chose is left as it is."""
    file = target.backend.lock_beside
    if file is None or not file.exists():
        return
    if others := file.stat().st_mode & 0o044:
        who = "every user of this machine" if others & 0o004 else "its group"
        found = f"{who} can read {file}; to end that: chmod go-rwx {shlex.quote(str(file))}"
        yield Check("access", "-", found)
    for one in weaknesses(file):
        yield Check(
            "access", "-", f"{one.who} can change {one.path}, and so replace {file.name}; end it: {one.command}"
        )


def _published(target: Target) -> Iterator[Check]:
    """Checks where each sync publishes a copy, if it does."""
    path = publish.configured()
    try:
        publish.require_usable(target)
    except WrongSettings as error:
        setting = publish.MODE if str(error).startswith(publish.MODE) else publish.SETTING
        yield Check("copy", "fail", str(error), f"Correct {setting}.")
        return
    if path and target.file:
        yield Check("copy", "ok", f"each sync publishes {publish.checked(target.file, path)}")
    elif path:
        found = (
            f"{publish.SETTING} has no effect with --destination {target.destination}: only a DuckDB file is copied"
        )
        yield Check("copy", "-", found)


def _layout(layouts: dict[str, int]) -> Iterator[Check]:
    """Tells of what layout the datasets are; what is newer than this version has ended the checks before."""
    if layouts:
        found = ", ".join(f"{name} {layout}" for name, layout in layouts.items())
        older = "; the next sync upgrades the older ones" if min(layouts.values()) < LAYOUT else ""
        yield Check("layout", "ok", f"{found}; this version writes {LAYOUT}{older}")


def _tables(
    target: Target, blocked: list[tuple[str, Obstacle]], missing: list[tuple[str, Damage]]
) -> Iterator[Check]:
    """Yields what somebody changed of tables, and what somebody took away, with what ends it."""
    for name, obstacle in blocked:
        remedy = f"Its owner ends that: {obstacle.remedy}"
        yield Check(f"{name} tables", "fail", f"{obstacle.table} {obstacle.what}", remedy)
    for name in dict.fromkeys(name for name, _ in missing):
        remedy = f"{command(target.destination, 'sync', name)} makes it again and reads everything again."
        found = "; ".join(str(damage) for of, damage in missing if of == name)
        yield Check(f"{name} tables", "fail", found, remedy)
