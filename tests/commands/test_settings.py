"""Settings have bounds, and those that nobody reads are named: before any request, exit 2, and the variable."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from gapless.pipelines.cli.app import app
from gapless.pipelines.config.database_file import require_database
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.sync import unknown
from gapless.pipelines.sync.unknown import SHARED, unknown_settings
from gapless.sources import SOURCES
from gapless.sources._extract.settings import Setting
from tests.contract.subject import subject
from tests.support import warm
from tests.support.world import World

Begin = Callable[[Any], World]
NAMES = list(SOURCES)
NUMBERS = [
    (name, parameter.name)
    for name, source in SOURCES.items()
    for parameter in signature(source.build).parameters.values()
    if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)
]
"""Every number that a source can be told, whoever declared it."""


def gapless(*arguments: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, list(arguments))
    return told.exit_code, " ".join(told.output.split())


@pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "-inf", "1e300"])
def test_numbers_have_bounds(wrong: str, world: Begin) -> None:
    """Of every source, the smallest that is wrong and what is no number at all; the vendor is not asked."""
    for name, setting in NUMBERS:
        here = world(subject(name).filled()).set(**{setting.upper(): wrong})
        code, told = gapless("sync", name)
        assert (code, here.asked(), setting.upper() in told) == (2, 0, True), told
        here.monkeypatch.delenv(setting.upper())


def test_bounds_are_allowed() -> None:
    """And nothing beyond them."""
    one = Setting("n", int, 5, least=1, most=9, unit="seconds")
    assert [one.checked("N", value) for value in (1, 9)] == [1, 9]
    for value in (0, 10):
        with pytest.raises(ValueError, match=f"N is {value}; it must be between 1 and 9 seconds"):
            one.checked("N", value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "0001-01-01T00:00+05:00"],
        ["--until", "9999-12-31T23:59:59-05:00"],
        ["--every", "15"],
        ["--every", "9e9d"],
        ["--every", "99999999999d"],
        ["--every", "-15m"],
        ["--every", "nanm"],
    ],
)
def test_options_have_bounds(arguments: list[str], world: Begin) -> None:
    """Times that UTC does not have, and intervals without a unit, which would be seconds."""
    here = world(subject(NAMES[0]).filled())
    code, told = gapless("sync", here.name, *arguments)
    assert (code, here.asked(), arguments[0] in told) == (2, 0, True), told


@pytest.mark.slow
def test_a_part_of_the_keys_is_wrong(world: Begin) -> None:
    """None of them leaves a source out; some of them are a mistake."""
    for name, source in SOURCES.items():
        here = world(subject(name).filled())
        for needed in source.needs[1:]:
            here.monkeypatch.delenv(needed.upper(), raising=False)
        code, told = gapless("sync")
        assert (code, here.asked()) == (2, 0) if len(source.needs) > 1 else (0, here.asked()), told
        for needed in source.needs:
            here.monkeypatch.delenv(needed.upper(), raising=False)


@pytest.mark.slow
@pytest.mark.parametrize("failed", [True, pytest.param(False, marks=pytest.mark.sweep)])
def test_keys_that_are_gone(world: Begin, failed: bool) -> None:
    """While what they brought is here: the sync of the others says it, and is no success after a failure."""
    first, second = world(subject(NAMES[0]).filled()), world(subject(NAMES[1]).filled())
    for needed in {need for name in NAMES[2:] for need in SOURCES[name].needs}:
        first.monkeypatch.delenv(needed.upper(), raising=False)
    first.synced()
    if failed:
        first.fake.failing["/"] = 401
        assert first.sync().outcome == "failed"
    for needed in SOURCES[first.name].needs:
        first.monkeypatch.delenv(needed.upper())
    code, told = gapless("sync")
    said = (f"{first.name}: skipped" in told, "although its tables are here" in told)
    assert (code, said) == (1 if failed else 0, (True, True)), told
    assert ("not set, and its last sync failed: GET" in " ".join(told.split())) == failed, told
    second.assert_exact()


def test_settings_that_nobody_reads(world: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables, keys and sections that are nearly ours, with the one that was meant; others' variables are not."""
    name = NAMES[0]
    here = world(subject(name).filled())
    folder = tmp_path / "project" / ".dlt"
    folder.mkdir(parents=True)
    lines = [f"[source.{name}]", "x = 1", f"[sources.{name}]", "requests_per_minute = 5", "[gaples]", "y = 1"]
    (folder / "config.toml").write_text("\n".join(lines))
    monkeypatch.setenv("DLT_PROJECT_DIR", str(folder.parent))
    here.set(**{f"{name.upper()}_REQUEST_PER_MINUTE": "5", f"{name.upper()}_HOME": "/", "GAPLESS_PUBLSH": "x"})
    ended = warm.run(
        [sys.executable, "-m", "gapless.pipelines", "sync", name]
    )  # as dlt finds its files once a process
    told = ended.stderr
    assert ended.returncode == 0, told
    for meant in (
        f"the variable {name.upper()}_REQUEST_PER_MINUTE is no setting, and nobody reads it;"
        f" {name.upper()}_REQUESTS_PER_MINUTE is one",
        "the variable GAPLESS_PUBLSH is no setting, and nobody reads it; GAPLESS_PUBLISH is one",
        "the section [source] in .dlt is no setting, and nobody reads it; [sources] is one",
        f"requests_per_minute in the section [sources.{name}] in .dlt is no setting, and nobody reads it;"
        f" {name}_requests_per_minute is one",
        "the section [gaples] in .dlt is no setting, and nobody reads it; [gapless] is one",
    ):
        assert meant in told, told
    assert f"{name.upper()}_HOME" not in told


VARIABLES = {
    "GAPLES_DEBUG": "GAPLESS_DEBUG",
    "GAPLESSS_PUBLISH": "GAPLESS_PUBLISH",
    "gapless_publish": "GAPLESS_PUBLISH",
    "{1}_base_url": "{0}_BASE_URL",
    "DESTINATION__DUCKDB__CREDENTIAL": "DESTINATION__DUCKDB__CREDENTIALS",
    "DESTINATION_POSTGRES_CREDENTIALS": "DESTINATION__POSTGRES__CREDENTIALS",
    "DESTINATION__POSTGRE__CREDENTIALS__HOST": "DESTINATION__POSTGRES__CREDENTIALS",
}
"""Variables that nobody reads, and which was meant; {0} is a source in capitals, {1} as it is called."""
SOUND = (
    "GAPLESS_UI_TOKEN", "DESTINATION__DUCKDB__CREDENTIALS", "DESTINATION__POSTGRES__CREDENTIALS__HOST",
    "DESTINATION__WAREHOUSE__CREDENTIALS", "DESTINATION__POSTGRES__CREATE_INDEXES", "SEAMLESS_DEBUG", "DESTINATION",
)  # fmt: skip


def test_variables_that_nobody_reads(world: Begin) -> None:
    """A slip in gapless' own name, small letters, a destination: named, as all of it would do nothing."""
    name = NAMES[0]
    here = world(subject(name).filled())
    for variable in SOUND:
        here.set(**{variable: "x"})
    assert [*unknown_settings([name])] == []
    for slip, meant in VARIABLES.items():
        variable, right = (text.format(name.upper(), name) for text in (slip, meant))
        here.set(**{variable: "x"})
        assert [*unknown_settings([name])] == [
            f"the variable {variable} is no setting, and nobody reads it; {right} is one"
        ]
        here.monkeypatch.delenv(variable)


def test_settings_that_a_source_does_not_have(world: Begin) -> None:
    """Others have it, so a person expects that it does something."""
    for name, source in SOURCES.items():
        here = world(subject(name).filled())
        for shared in SHARED:
            if f"{name}_{shared}" not in signature(source.build).parameters:
                here.set(**{f"{name.upper()}_{shared.upper()}": "3"})
                (said,) = unknown_settings([name])
                assert said == f"the variable {name.upper()}_{shared.upper()} is no setting, and nobody reads it"
                here.monkeypatch.delenv(f"{name.upper()}_{shared.upper()}")


DOCUMENTS: list[tuple[dict[str, Any], str, str]] = [
    ({"budgets": 5}, "budgets = … in .dlt", "the section [budgets]"),
    ({"sources": [1]}, "sources = … in .dlt", "the section [sources]"),
    ({"gapless": {"gapless_debug": True}}, "gapless_debug in the section [gapless]", "the variable GAPLESS_DEBUG"),
    (
        {"gapless": {"gapless_retry_budget": 5}},
        "gapless_retry_budget in the section [gapless]",
        "gapless_retry_budget in [sources]",
    ),
    ({"gapless_log_format": "json"}, "gapless_log_format in .dlt", "the variable GAPLESS_LOG_FORMAT"),
    (
        {"sources": {"gapless_retry_bugdet": 5}},
        "gapless_retry_bugdet in the section [sources]",
        "gapless_retry_budget",
    ),
    (
        {"destination": {"duckdb": {"credential": "x"}}},
        "credential in the section [destination.duckdb]",
        "credentials",
    ),
    (
        {"destination": {"postgre": {"credentials": "x"}}},
        "the section [destination.postgre]",
        "[destination.postgres]",
    ),
]
"""What stands in a file of settings and counts for nothing, how it is named, and what was meant."""


@pytest.mark.parametrize(("document", "named", "meant"), DOCUMENTS, ids=[named for _, named, _ in DOCUMENTS])
def test_what_stands_in_a_file_and_nobody_reads(
    document: dict[str, Any], named: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value in place of a section, a name in the section of another, a slip in a destination's."""
    monkeypatch.setattr(unknown, "documents", lambda: [document])
    (said,) = unknown_settings(NAMES)
    assert said.removesuffix(" in .dlt").startswith(named), said
    assert said.endswith(f" is no setting, and nobody reads it; {meant} is one"), said


@pytest.mark.parametrize("key", ["credentials", "destination_type"])
@pytest.mark.parametrize("where", ["file", "variable"])
def test_credentials_of_no_destination(key: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB's file would be another one, without a word."""
    if where == "file":
        monkeypatch.setattr(unknown, "documents", lambda: [{"destination": {key: "x"}}])
    else:
        monkeypatch.setenv(f"DESTINATION__{key.upper()}", "x")
    (said,) = unknown_settings(NAMES)
    assert "belongs to no destination; expected in the section of one, such as " in said, said


def test_a_section_below_a_source_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads it, unless it is that of a table, where dlt looks; of every source."""
    for name, source in SOURCES.items():
        tables = {source.main.name: {"max_table_nesting": 1}, "schema_contract": {"columns": "freeze"}}
        document = {"sources": {name: {"extra": {f"{name}_privacy": "x"}, name: {}, **tables}}}
        monkeypatch.setattr(unknown, "documents", lambda document=document: [document])
        (said,) = unknown_settings([name])
        assert said.startswith(f"the section [sources.{name}.extra] in .dlt is no setting, and nobody"), said


def test_what_stands_in_a_file_and_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting where the pages and the examples have it, and a destination of the user's own."""
    sections = {
        "sources": dict.fromkeys(unknown.OF_ALL_SOURCES, 1),
        "gapless": dict.fromkeys(unknown.IN_GAPLESS, 1),
        "destination": {
            "duckdb2": {"destination_type": "duckdb", "credentials": "x"},
            "postgres": {"credentials": 1},
        },
        "budgets": {"x": 5},
    }
    before = dict.fromkeys((*unknown.OF_GAPLESS, *unknown.OF_ALL_SOURCES), 1)
    monkeypatch.setattr(unknown, "documents", lambda: [sections, before])
    assert [*unknown_settings(NAMES)] == []


def test_our_own_settings_are_known(world: Begin) -> None:
    """Those of the tests' environment and every documented one."""
    for name in SOURCES:
        world(subject(name).filled())
    assert list(unknown_settings(SOURCES)) == []


@pytest.mark.parametrize("section", ["{0}__", "SOURCES__{0}__"])
def test_numbers_under_dlts_own_names(section: str, world: Begin) -> None:
    """dlt reads a setting in a section, too: with the same bounds; and one that it does not read is named."""
    name = NAMES[0]
    here, prefix = world(subject(name).filled()), section.format(name.upper())
    for wrong, problem in (("-4", "is -4; it must be between"), ("x", "is 'x'; it must be a whole number between")):
        here.set(**{f"{prefix}{name.upper()}_REQUESTS_PER_MINUTE": wrong})
        code, told = gapless("sync", name)
        assert (code, here.asked(), f"{name.upper()}_REQUESTS_PER_MINUTE {problem}" in told) == (2, 0, True), told
        here.monkeypatch.delenv(f"{prefix}{name.upper()}_REQUESTS_PER_MINUTE")
    here.set(**{f"{prefix}REQUESTS_PER_MINUTE": "-4"})
    (said,) = unknown_settings([name])
    assert said.startswith(f"the variable {prefix}REQUESTS_PER_MINUTE is no setting, and nobody reads it; ")


@pytest.mark.slow
def test_look_back_under_dlts_own_names(world: Begin) -> None:
    """The short name that dlt's users know is none of the environment: it is named, and never taken."""
    name = next(name for name in NAMES if subject(name).has("lag"))
    here = world(subject(name).filled())
    here.set(LAG="x", END_VALUE="x", INITIAL_VALUE="x")  # of another program
    here.complete()
    here.assert_exact()
    for variable, value in ((f"{name.upper()}__LAG", "-4"), (f"SOURCES__{name.upper()}__LAG", "x")):
        here.set(**{variable: value})
        assert [*unknown_settings([name])] == [
            f"the variable {variable} is no setting, and nobody reads it; {name.upper()}_LAG is one"
        ]
        here.complete()
        here.monkeypatch.delenv(variable)


@pytest.mark.parametrize("blank", ["", "  ", "\t\n"])
def test_blank_keys_count_as_not_set(blank: str, world: Begin) -> None:
    """All of them blank leave a source out, one of several is a mistake, as if it were not there."""
    for name, source in SOURCES.items():
        here = world(subject(name).filled()).alone()
        here.set(**{need.upper(): blank for need in source.needs})
        code, told = gapless("sync", name)
        assert (code, here.asked()) == (2, 0), told
        assert source.needs[0].upper() in told
        if len(source.needs) > 1:
            here.set(**{source.needs[0].upper(): "a key"})
            code, told = gapless("sync")
            assert (code, here.asked(), f"although {source.needs[0].upper()} is" in told) == (2, 0, True), told


def test_a_slip_in_the_sources_name(world: Begin) -> None:
    """A variable that ends like a setting and begins nearly like a source; others' variables are not named."""
    for name in NAMES:
        here, upper = world(subject(name).filled()), name.upper()
        for slip in (upper[:2] + upper[3:], f"{upper}S", upper[:2] + upper[3] + upper[2] + upper[4:]):
            if slip.lower() in SOURCES or len(name) < 5:
                continue
            here.set(**{f"{slip}_PRIVACY": "x", f"{slip}_HOME": "/", f"OTHER{slip}_LAG": "5"})
            said = [*unknown_settings([name])]
            assert said == [f"the variable {slip}_PRIVACY is no setting, and nobody reads it; {upper}_PRIVACY is one"]
            for variable in (f"{slip}_PRIVACY", f"{slip}_HOME", f"OTHER{slip}_LAG"):
                here.monkeypatch.delenv(variable)


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "1.5", "true", "9" * 30])
@pytest.mark.parametrize("setting", ["{0}__WORKERS", "LOAD__WORKERS", "EXTRACT__WORKERS", "{0}__NORMALIZE__WORKERS"])
def test_dlts_own_numbers_have_bounds(setting: str, wrong: str, world: Begin) -> None:
    """`[omni] workers = 0` is dlt's for the pipeline of that name: it is named, before any request."""
    here = world(subject(NAMES[0]).filled())
    setting = setting.format(here.name.upper())
    here.set(**{setting: wrong})
    code, told = gapless("sync", here.name)
    assert (code, here.asked(), f"{setting} must be a whole number between 1 and 256" in told) == (2, 0, True), told


def test_ids_and_addresses_of_another_form(world: Begin) -> None:
    """What is no list of ids, and a host without its scheme, are named with what was expected."""
    for name, source in SOURCES.items():
        here = world(subject(name).filled())
        here.set(**{f"{name.upper()}_BASE_URL": "api.vendor.test:443/v1"})
        code, told = gapless("sync", name)
        expected = f"{name.upper()}_BASE_URL must be scheme and host, and has no scheme; expected https://api.vendor.test:443/v1."
        assert (code, expected in told) == (2, True), told
        here.monkeypatch.delenv(f"{name.upper()}_BASE_URL")
        if only := source.stream.only:
            for wrong in ("[1.5]", "[", '[{"a": 1}]'):
                here.set(**{only.upper(): wrong})
                code, told = gapless("sync", name)
                assert (code, f"{only.upper()} must be ids, such as" in told) == (2, True), told
            here.monkeypatch.delenv(only.upper())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RUNTIME__LOG_LEVEL", "LOUD"),
        ("RUNTIME__REQUEST_TIMEOUT", "soon"),
        ("NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS", "x"),
        ("SCHEMA__NAMING", "nobody.knows"),
    ],
)
@pytest.mark.slow
def test_dlts_own_settings(variable: str, value: str, world: Begin) -> None:
    """One that dlt cannot begin with is wrong usage in words, in a process of its own as dlt begins once."""
    here = world(subject(NAMES[0]).filled())
    here.set(**{variable: value})
    done = warm.run([sys.executable, "-m", "gapless.pipelines", "sync", NAMES[0]], cwd=here.folder)
    told = done.stdout + done.stderr
    assert (done.returncode, here.asked()) == (2, 0), told
    assert "not expected" not in told
    assert variable in told or variable == "SCHEMA__NAMING"


@pytest.mark.slow
@pytest.mark.parametrize("address", ["md:logs", "s3://bucket/logs.duckdb", "postgresql://u:p@h/logs", "sqlite:///x"])
def test_the_address_of_another_kind_of_database(address: str, world: Begin) -> None:
    """It is refused, and no file is made of its end."""
    here = world(subject(NAMES[0]).filled())
    here.set(DESTINATION__DUCKDB__CREDENTIALS=address)
    code, told = gapless("sync", NAMES[0])
    assert (code, here.asked()) == (2, 0), told
    assert "DESTINATION__DUCKDB__CREDENTIALS begins with" in told
    assert "u:p" not in told


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--id", ""], ["--id", ".."], ["--since", "2090-01-01"]])
def test_what_cannot_be_read(options: list[str], world: Begin) -> None:
    """An id that is none, and a span of the future, are wrong usage before any request."""
    name = next(name for name in NAMES if subject(name).source.stream.by_id)
    here = world(subject(name).filled())
    code, told = gapless("sync", name, *options)
    assert (code, here.asked()) == (2, 0), told
    assert options[0] in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("initial", "end", "said"),
    [
        ("2026-03-01", "2026-02-01", "(2026-03-01T00:00Z) is not before {0}_END_VALUE (2026-02-01T00:00Z)"),
        ("2026-03-01", "2026-03-01T00:00Z", "is not before {0}_END_VALUE"),
        ("2120-01-01", "", "(2120-01-01T00:00Z) is in the future"),
    ],
)
def test_a_span_without_a_record(initial: str, end: str, said: str, world: Begin) -> None:
    """Of every source: no sync would ever read anything, and each of them would be complete."""
    for name in SOURCES:
        here, prefix = world(subject(name).filled()), name.upper()
        here.set(**{f"{prefix}_INITIAL_VALUE": initial, f"{prefix}_END_VALUE": end})
        code, told = gapless("sync", name)
        assert (code, here.asked(), f"{prefix}_INITIAL_VALUE (" in told) == (2, 0, True), told
        assert said.format(prefix) in told
        for setting in ("INITIAL_VALUE", "END_VALUE"):
            here.monkeypatch.delenv(f"{prefix}_{setting}")


NO_DATABASE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "is a folder, not the file of a database"),
    "a text": (lambda path: path.write_text("milk, bread"), "is no database, but a file of another program"),
    "another's": (lambda path: path.write_bytes(b"SQLite format 3\0" + b"\0" * 84), "is no database, but"),
    "a pipe": (os.mkfifo, "is a device or a pipe, not a file"),
    "a device": (lambda path: path.symlink_to("/dev/null"), "is a device or a pipe, not a file"),
}
"""What may stand where the database is to be, and what is said of it."""


@pytest.mark.slow
@pytest.mark.parametrize(("make", "said"), NO_DATABASE.values(), ids=NO_DATABASE)
def test_what_is_no_database(make: Callable[[Path], object], said: str, world: Begin, tmp_path: Path) -> None:
    """Wrong usage for every command, and nothing is made beside it."""
    here, file = world(subject(NAMES[0]).filled()), tmp_path / "data" / "logs"
    file.parent.mkdir()
    make(file)
    here.set(DESTINATION__DUCKDB__CREDENTIALS=str(file))
    for command in ("sync", "status", "gaps", "doctor"):
        code, told = gapless(command)
        assert (code, said in told) == (1 if command == "doctor" else 2, True), (command, told)
        assert str(file.resolve()) in told, "the path of a file is no secret"
    assert not [*here.fake.requests][1:], "the doctor alone has asked"
    assert [*file.parent.iterdir()] == [file]


def test_a_file_that_is_open_is_not_looked_into(tmp_path: Path) -> None:
    """To close it would end DuckDB's lock on it, and another process could write meanwhile."""
    file = tmp_path / "logs.duckdb"
    look = (file, b"no such mark", 0, "SETTING")
    with duckdb.connect(str(file)) as connection:
        connection.execute("create table t as select 1; checkpoint")
        require_database(*look)
    with pytest.raises(WrongSettings, match="SETTING"):
        require_database(*look)


LIBPQ = {
    "port": "postgresql://u:canary@127.0.0.1:99999/logs",
    "sslmode": "postgresql://u:canary@127.0.0.1:9/logs?sslmode=foo",
    "target_session_attrs": "host=127.0.0.1 port=9 dbname=logs target_session_attrs=foo",
    "keepalives_idle": "postgresql://u:canary@127.0.0.1:9/logs?keepalives_idle=foo",
    "connect_timeout": "postgresql://u:canary@127.0.0.1:9/logs?connect_timeout=abc",
    "libpq has no parameter sslmod; sslmode is one": "postgresql://u:canary@127.0.0.1:9/logs?sslmod=require",
}
"""What libpq refuses whatever the server says, by the word that names it."""


@pytest.mark.slow
@pytest.mark.parametrize(("parameter", "address"), LIBPQ.items(), ids=LIBPQ)
def test_parameters_that_libpq_does_not_take(parameter: str, address: str, world: Begin) -> None:
    """Wrong usage with the setting and the parameter, for what writes and what reads."""
    here = world(subject(NAMES[0]).filled())
    here.set(DESTINATION__POSTGRES__CREDENTIALS=address)
    for command in ("sync", "status"):
        code, told = gapless(command, "--destination", "postgres")
        assert (code, here.asked(), "canary" in told) == (2, 0, False), told
        assert parameter in told
        assert "DESTINATION__POSTGRES__CREDENTIALS" in told


def test_a_variable_of_libpq_is_named(world: Begin) -> None:
    """Where the address does not have the parameter."""
    here = world(subject(NAMES[0]).filled())
    here.set(DESTINATION__POSTGRES__CREDENTIALS="postgresql://u:p@127.0.0.1:9/logs", PGSSLMODE="foo")
    code, told = gapless("sync", "--destination", "postgres")
    assert (code, 'the sslmode "foo" of PGSSLMODE' in told) == (2, True), told


@pytest.mark.slow
def test_a_number_says_its_unit_and_its_bounds(world: Begin) -> None:
    """Of every source's every number, for a value that is none; a long one, which may be a key, is not repeated."""
    for name, setting in NUMBERS:
        here = world(subject(name).filled()).set(**{setting.upper(): "1h"})
        code, told = gapless("sync", name)
        assert (code, here.asked(), f"{setting.upper()} is '1h'; it must be a" in told) == (2, 0, True), told
        assert re.search(r"number( of (seconds|MB))? between [\d,]+ and [\d,]+\.", told), told
        assert ("of seconds" in told) == setting.endswith(("lag", "after", "wait", "retry_budget")), told
        here.set(**{setting.upper(): "canary-key-0123456789"})
        assert "canary" not in gapless("sync", name)[1]
        here.monkeypatch.delenv(setting.upper())


SWITCHES: dict[str, tuple[dict[str, str], list[str], str]] = {
    "debug": ({"GAPLESS_DEBUG": "maybe"}, [], "GAPLESS_DEBUG is 'maybe'; expected 1 (on) or 0 (off)"),
    "format": ({"GAPLESS_LOG_FORMAT": "xml"}, [], "GAPLESS_LOG_FORMAT is 'xml'; expected text or json"),
    "option": ({"GAPLESS_LOG_FORMAT": "json"}, ["--log-format", "xml"], "--log-format 'xml'; expected text or json"),
}


@pytest.mark.parametrize(("variables", "options", "said"), SWITCHES.values(), ids=SWITCHES)
def test_switches_say_what_they_take(
    variables: dict[str, str], options: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable or the option that is wrong, its value, and what is expected."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, told = gapless("status", *options)
    assert (code, said in told) == (2, True), told
    for value in ("1", "true", "0", "No", ""):
        monkeypatch.setenv("GAPLESS_DEBUG", value)
        monkeypatch.delenv("GAPLESS_LOG_FORMAT", raising=False)
        assert gapless("status")[0] == 0


def test_an_id_with_a_colon_is_named(world: Begin) -> None:
    """HTTP Basic would cut it there; people copy the id with its secret."""
    here = world(subject("sequence").filled()).set(SEQUENCE_CLIENT_ID="id:secret-canary")
    code, told = gapless("sync", "sequence")
    assert (code, here.asked(), "canary" in told) == (2, 0, False)
    assert "SEQUENCE_CLIENT_ID holds a colon" in told


@pytest.mark.slow
def test_a_key_that_no_header_holds(world: Begin) -> None:
    """Of every source that sends its keys as they are: the settings among which it is, and no piece of it."""
    for name, source in SOURCES.items():
        here = world(subject(name).filled())
        for need in (need.upper() for need in source.needs if not need.endswith("_url")):
            before = os.environ[need]
            here.set(**{need: "canary\u2013key"})  # a dash that a web page made of a hyphen
            code, told = gapless("sync", name)
            assert "canary" not in told
            if code == 2:
                assert (here.asked(), need in told) == (0, True), told
            here.set(**{need: before})


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [",", " ", "[]"])
def test_ids_that_name_none(wrong: str, world: Begin) -> None:
    """Else all would be read, and whoever set it wanted few."""
    for name, source in SOURCES.items():
        if only := source.stream.only:
            here = world(subject(name).filled()).set(**{only.upper(): wrong})
            code, told = gapless("sync", name)
            assert (code, here.asked(), f"{only.upper()} must be ids" in told) == (2, 0, True), told
            here.monkeypatch.delenv(only.upper())


def test_folders_that_are_none(world: Begin, tmp_path: Path) -> None:
    """Of the data, where a file stands, and of the settings, where nothing is."""
    here, file = world(subject(NAMES[0]).filled()), tmp_path / "file"
    file.write_text("mine")
    here.set(DESTINATION__FILESYSTEM__BUCKET_URL=str(file))
    code, told = gapless("sync", NAMES[0], "--destination", "filesystem", "--accept-append")
    assert (code, here.asked(), "DESTINATION__FILESYSTEM__BUCKET_URL" in told) == (2, 0, True), told
    here.set(DLT_PROJECT_DIR=str(tmp_path / "away"))
    code, told = gapless("status")
    assert (code, f"DLT_PROJECT_DIR: there is no folder {tmp_path}/away" in told) == (2, True), told
