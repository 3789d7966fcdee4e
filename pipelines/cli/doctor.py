"""Checks whether a sync can work: settings, keys, destination, lock, versions, clock. A failed check says what to do.

It sends one small request to each vendor, stores nothing, and shows no value of a setting.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from gapless.pipelines.cli import probe
from gapless.pipelines.config.misnamed import absent, misnamed
from gapless.pipelines.destinations import publish
from gapless.pipelines.destinations._catalogs.obstacle import Obstacle
from gapless.pipelines.destinations.backend import Part
from gapless.pipelines.destinations.target import Target
from gapless.pipelines.erasure.unfinished import sentence, unfinished
from gapless.pipelines.errors import GaplessError, InUse, Locked, WrongSettings, explain, next_step
from gapless.pipelines.evidence import sentences
from gapless.pipelines.evidence.grouping import Problem
from gapless.pipelines.evidence.structure import Damage
from gapless.pipelines.observability import telemetry, webhook
from gapless.pipelines.observability.post import site
from gapless.pipelines.printable import command
from gapless.pipelines.sync.build import build, check_settings, missing_settings
from gapless.pipelines.sync.unknown import unknown_settings
from gapless.sources import SOURCES, Source, left_accounts
from gapless.sources._files.writers import weaknesses
from gapless.sources._http.client import Client, check_environment
from gapless.sources._http.environment.errors import NetworkSettingError
from gapless.sources._http.errors import ProxyRefused, ProxyUnavailable, QuotaSpent, VendorError
from gapless.sources._ledger.session import Session
from gapless.sources._schema.layout import LAYOUT

# Seconds. A person waits for the answer, and longer retries would not change it.
PING_SETTINGS = {"gapless_retry_budget": 5.0, "gapless_retry_max_wait": 5.0}
CHECKED_LIBRARIES = ("dlt", "duckdb", "sqlglot", "httpx2", "pydantic", "pyarrow")
"""Libraries whose newer versions are known to break something, or change much."""
REFUSED = (
    "Check its credentials, rights (CREATE on the database and its schemas) and space, and that it is no standby."
)
CLOSED = re.compile(r"permission denied for (\w+) (\w+)")
"""What Postgres says of what a role may not use, with its kind and its name."""
GRANTS = {"schema": "usage, create on schema", "database": "create, temporary on database"}
GRANT_TABLE = "select, insert, update, delete on table"
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""A clock before this is wrong, as this program is newer."""


@dataclass(frozen=True)
class Check:
    """One line of the doctor."""

    name: str
    result: Literal["ok", "fail", "-"]
    """`-`: there was nothing to check, which is no failure."""
    found: str
    remedy: str = ""
    """What to do if it failed."""

    def to_json(self) -> dict[str, str]:
        """Returns the check under the keys that `doctor --json` has always had."""
        return {"name": self.name, "result": self.result, "found": self.found, "mends": self.remedy}


def checks(destination: str) -> Iterator[Check]:
    """Yields each check as soon as it is done. Raises nothing: what goes wrong is a failed check."""
    network = _network()
    yield network
    for line in absent():
        yield Check("settings", "-", line)
    configured: list[str] = []
    yield from _sources(configured) if network.result == "ok" else [Check("sources", "-", "not checked: see network")]
    for line in unknown_settings(SOURCES):
        yield Check("settings", "fail", line, "Correct its name, or take it out.")
    for line in misnamed():
        yield Check("settings", "fail", line, "Rename it, or take it away.")
    yield from _destination(destination, configured)
    yield from _watchers()
    yield from _versions()
    yield _clock()


def _network() -> Check:
    """Checks the variables that every request depends on."""
    try:
        proxies = check_environment()
    except NetworkSettingError as error:
        return Check("network", "fail", str(error), "Correct that variable, or unset it.")
    return Check("network", "ok", f"through {', '.join(proxies)}" if proxies else "no proxy is set")


def _sources(configured: list[str]) -> Iterator[Check]:
    """Checks each source and notes which are configured; if none is, that is a failure, too."""
    left = left_accounts()  # the destination's checks say it of them
    for source in (source for name, source in SOURCES.items() if name not in left):
        for check in _source(source):
            if check.result != "-":
                configured.append(source.name)
            yield check
    if not configured:
        yield Check(
            "sources", "fail", "none is configured", "gapless init asks for keys; to try it without any: gapless demo"
        )


def _source(source: Source) -> Iterator[Check]:
    """Checks the settings of a source and, if they are complete, its key."""
    name = source.name
    try:
        missing = missing_settings(name)
    except WrongSettings as error:
        yield Check(f"{name} settings", "fail", str(error), "Correct that setting.")
        return
    if len(missing) == len(source.needs):
        yield Check(f"{name} settings", "-", f"not configured ({', '.join(missing)} not set)")
    elif missing:
        remedy = f"Set it in the environment, or in lower case under [sources.{name}] in .dlt/secrets.toml."
        yield Check(f"{name} settings", "fail", f"{', '.join(missing)} not set", remedy)
    else:
        with _client(source, {}) as client:
            yield Check(f"{name} settings", "ok", f"{_settings_origin(source)}, sent to {client.site}")
            yield _check_key(source, client)


def checked(source: Source, settings: Mapping[str, str]) -> Check:
    """Checks a key that is not in the configuration yet. Raises WrongSettings for settings that cannot be used."""
    with _client(source, settings) as client:
        return _check_key(source, client)


def _client(source: Source, settings: Mapping[str, object]) -> Client:
    """Returns the client with the settings of a sync, and with `settings` in place of the configured ones."""
    session = Session()
    # Building a source sends nothing.
    build(source, session, **PING_SETTINGS, **settings)
    if session.client is None:
        raise AssertionError("a source sets its client when it is built")
    return session.client


def _settings_origin(source: Source) -> str:
    """Returns where the needed settings come from; never their values."""
    from gapless.pipelines.destinations._dlt.config import resolved_settings

    found = {setting.key: setting.origin for setting in resolved_settings(lambda: check_settings(source))}
    origins = sorted({found[need] for need in source.needs if need in found})
    return f"{', '.join(need.upper() for need in source.needs)} from {' and '.join(origins)}"


def _check_key(source: Source, client: Client) -> Check:
    """Sends the vendor's cheapest request with the configured key."""
    name = f"{source.name} key"
    try:
        source.api.ping(client)
    except VendorError as error:
        return Check(name, "fail", str(error), _remedy(source, error))
    return Check(name, "ok", f"accepted by the vendor at {client.site}")


def _remedy(source: Source, error: VendorError) -> str:
    """Returns what to do, by HTTP status; without one the vendor was not reached."""
    prefix = source.name.upper()
    if isinstance(error, ProxyRefused | ProxyUnavailable):
        return "Correct the variable of that proxy, or name the vendor's host in NO_PROXY."
    if isinstance(error, QuotaSpent):
        return "Wait until then: the first sync after it goes on by itself."
    if error.status in (401, 403):
        return f"Check {', '.join(need.upper() for need in source.needs)}, and that they belong to {prefix}_BASE_URL."
    if error.status is None:
        return f"Check {prefix}_BASE_URL and this machine's network (proxy, DNS)."
    return f"Check {prefix}_BASE_URL, or try again later."


def _destination(destination: str, configured: list[str]) -> Iterator[Check]:
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
        yield Check(f"{problem.source} data", "-", sentences.sentence(problem).removeprefix(f"{problem.source}: "))
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


def _watchers() -> Iterator[Check]:
    """Checks where messages, traces and metrics go, if they go anywhere. Sends none."""
    try:
        hook = webhook.configured()
    except WrongSettings as error:
        yield Check("webhook", "fail", str(error), f"Correct {webhook.URL} or {webhook.ON}.")
    else:
        if hook:
            yield Check("webhook", "ok", f"messages go to {site(hook.url)}")
    for text in telemetry.problems():
        yield Check("telemetry", "fail", text, "Correct the variable OTEL_… of it.")


def _versions() -> Iterator[Check]:
    """Compares the installed libraries with the versions that gapless declares."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires("gapless") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("versions", "-", "gapless is not installed, so nothing says which versions it needs")
        return
    # A marker belongs to an extra, which need not be installed.
    needed = [need for need in map(Requirement, lines) if need.name in CHECKED_LIBRARIES and not need.marker]
    for need in needed:
        found = importlib.metadata.version(need.name)
        good = need.specifier.contains(found, prereleases=True)
        remedy = "" if good else f'pip install "{need.name}{need.specifier}"'
        yield Check(need.name, "ok" if good else "fail", f"{found} (known to work: {need.specifier})", remedy)


def _clock() -> Check:
    """Checks the clock, because watermarks never pass the current time: a slow clock would hold them back."""
    now = datetime.now(UTC)
    if now < EARLIEST:
        return Check("clock", "fail", f"{now:%Y-%m-%d %H:%M} UTC is in the past", "Set this machine's clock.")
    return Check("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC")
