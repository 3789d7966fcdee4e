"""A settings file that somebody else can write says nothing: it could name a host for our keys, or code to import."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dlt
import httpx2 as httpx
import pytest

from gapless.pipelines.cli import completion
from gapless.pipelines.destinations._dlt import config
from gapless.sources import SOURCES
from gapless.sources._files.writers import foreign_link, refusal, weaknesses
from gapless.sources._http.testing import serve
from gapless.sources.register import configured_packages
from tests.support import warm
from tests.support.other_user import ATTACKER, SERVICE, acting, gapless, needs_root
from tests.support.world import some

pytestmark = needs_root

NOT_SHOWN = "canary-key-0123456789"
NAME = next(name for name, source in SOURCES.items() if f"{name}_base_url" in source.needs)
"""A source that has no host unless a setting names one: nobody else's is asked by mistake."""
HOST = f"{NAME.upper()}_BASE_URL"
KEYS = {need.upper(): NOT_SHOWN for need in SOURCES[NAME].needs if need.upper() != HOST}
OTHER = next(source for source in SOURCES.values() if source.name != NAME)


@contextmanager
def foreign_host() -> Iterator[tuple[str, list[str]]]:
    """The attacker's server, and each key that it got."""
    got: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        got.extend(value for value in request.headers.values() if NOT_SHOWN in value)
        return httpx.Response(401)

    with serve(handle) as url:
        yield url, got


def setting(url: str) -> str:
    """What the attacker writes."""
    return f'[sources.{NAME}]\n{HOST.lower()} = "{url}"\n'


@pytest.fixture
def attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, list[str]]]:
    """A working folder whose settings lead to the attacker's server, and what that got; all of it is ours so far."""
    with foreign_host() as (url, got):
        folder = tmp_path / "project"
        (folder / ".dlt").mkdir(parents=True)
        (folder / ".dlt" / "config.toml").write_text(setting(url))
        for key, value in KEYS.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("DLT_PROJECT_DIR", str(folder))
        monkeypatch.chdir(folder)
        yield folder, got
    monkeypatch.undo()
    config.read_again()  # what other tests know


def ours(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`gapless …` as the user of the tests, in a process that has read nothing yet."""
    return warm.run([sys.executable, "-m", "gapless.pipelines", *arguments])


def by_owner(folder: Path) -> None:
    os.chown(folder / ".dlt" / "config.toml", ATTACKER, 0)


def by_mode(folder: Path) -> None:
    (folder / ".dlt" / "config.toml").chmod(0o646)


def by_group(folder: Path) -> None:
    os.chown(folder / ".dlt" / "config.toml", 0, ATTACKER)
    (folder / ".dlt" / "config.toml").chmod(0o664)


def by_its_folder(folder: Path) -> None:
    (folder / ".dlt").chmod(0o777)


def by_the_owner_of_its_folder(folder: Path) -> None:
    os.chown(folder / ".dlt", ATTACKER, 0)


def by_a_folder_above(folder: Path) -> None:
    folder.chmod(0o777)


def by_a_link_of_his(folder: Path) -> None:
    """To a file of ours: the link can be turned any time."""
    (folder / ".dlt" / "config.toml").rename(folder / "ours.toml")
    (folder / ".dlt").chmod(0o1777)
    (folder / ".dlt" / "config.toml").symlink_to(folder / "ours.toml")
    os.lchown(folder / ".dlt" / "config.toml", ATTACKER, ATTACKER)


def by_what_our_link_leads_to(folder: Path) -> None:
    (folder / ".dlt").rename(folder / "his")
    os.chown(folder / "his", ATTACKER, ATTACKER)
    (folder / ".dlt").symlink_to("his")


WAYS = [
    by_owner, by_mode, by_group, by_its_folder, by_the_owner_of_its_folder, by_a_folder_above, by_a_link_of_his,
    by_what_our_link_leads_to,
]  # fmt: skip
COMMANDS = [
    "doctor",
    f"plan {NAME}",
    f"verify {NAME}",
    "gaps",
    "status",
    "views",
    "demo",
    "state show",
    "ui --headless",
]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_write(way: Callable[[Path], None], attacked: tuple[Path, list[str]]) -> None:
    """It is seen, the file is named, and the command that is named ends it."""
    folder, _ = attacked
    file = folder / ".dlt" / "config.toml"
    assert refusal(file) is None
    way(folder)
    said = str(refusal(file))
    assert said.startswith(f"{file} is not read: ")
    subprocess.run(["sh", "-ec", said.partition("End it: ")[2]], check=True)
    assert refusal(file) is None


@pytest.mark.parametrize("way", some(WAYS, by_owner))
def test_no_key_is_sent_where_somebody_else_says(
    way: Callable[[Path], None], attacked: tuple[Path, list[str]]
) -> None:
    """Exit 2 before any request; the file is named, and the command that is named ends it."""
    folder, got = attacked
    way(folder)
    done = ours("sync", NAME)
    said = " ".join(done.stderr.split())
    assert (done.returncode, got) == (2, []), said
    assert f"{folder}/.dlt/config.toml is not read: " in said
    command = said.partition("End it: ")[2].rstrip(".")
    subprocess.run(["sh", "-ec", command], check=True)
    assert ours("sync", NAME).returncode == 1
    assert len(got) == 1  # the test would see a key


@pytest.mark.parametrize("command", some(COMMANDS, *COMMANDS[:2]))
def test_every_command_refuses(command: str, attacked: tuple[Path, list[str]]) -> None:
    """Also those that ask no vendor: the file names destinations and packages to import, too."""
    folder, got = attacked
    by_mode(folder)
    done = ours(*command.split())
    assert (done.returncode, got) == (2, []), done.stderr
    assert "config.toml is not read: every user of this machine can change it" in done.stderr


def test_a_file_that_is_planted_while_we_run(attacked: tuple[Path, list[str]]) -> None:
    """`sync --every` reads its files again: a round that finds a foreign one asks nobody."""
    folder, got = attacked
    config.read_again()
    by_owner(folder)
    with pytest.raises(config.TomlProviderReadException, match="is not read"):
        config.read_again()
    assert got == []


def test_a_pipeline_of_ones_own(attacked: tuple[Path, list[str]]) -> None:
    """dlt has read the file long ago, without a look at its owner; the source looks."""
    folder, got = attacked
    config.read_again()
    assert dlt.config.get(f"sources.{NAME}.{HOST.lower()}")
    by_owner(folder)
    given = {need: NOT_SHOWN for need in OTHER.needs}
    for build in (SOURCES[NAME].build, partial(OTHER.build, **given)):
        with pytest.raises(ValueError, match=r"config\.toml is not read: the user 64301 can change it"):
            build()
    assert got == []


def test_nothing_is_imported_or_offered_that_somebody_else_names(attacked: tuple[Path, list[str]]) -> None:
    """The register of sources imports packages; TAB offers names."""
    folder, _ = attacked
    file = folder / ".dlt" / "config.toml"
    file.write_text('[gapless]\nsources = ["his.code"]\n[destination.his]\ndestination_type = "duckdb"\n')
    assert (list(configured_packages()), completion.destinations("h")) == (["his.code"], ["his"])
    by_owner(folder)
    assert (list(configured_packages()), completion.destinations("h")) == ([], [])


def test_a_service_without_a_home(shared: Path, own: Path) -> None:
    """dlt would read `$TMPDIR/dlt/config.toml`, which whoever comes first may make. It is not even looked at."""
    with foreign_host() as (url, got):
        with acting(ATTACKER):
            (shared / "dlt").mkdir()
            for name in ("config.toml", "secrets.toml"):
                (shared / "dlt" / name).write_text(setting(url))
        where = {"HOME": "/nonexistent", "TMPDIR": str(shared), **KEYS}
        done = gapless(SERVICE, "sync", NAME, cwd=own, **where)
        assert (done.returncode, got) == (2, []), done.stderr
        assert f"{HOST} not set" in done.stderr
        checked = gapless(SERVICE, "doctor", cwd=own, **where)
        assert (got, f"{HOST} not set" in checked.stdout) == ([], True), checked.stdout + checked.stderr


def test_what_is_no_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group with nobody else in it, the sticky bit, links of ours, what is not there, an unknown uid of our own."""
    file = tmp_path / ".dlt" / "config.toml"
    assert refusal(file) is None
    file.parent.mkdir()
    file.write_text("")
    file.chmod(0o664)  # the group root
    file.parent.chmod(0o1777)
    (tmp_path / "link").symlink_to(".dlt/../.dlt")
    assert refusal(tmp_path / "link" / "config.toml") is None
    os.chown(file, SERVICE, SERVICE)
    assert refusal(file)
    monkeypatch.setattr(os, "geteuid", lambda: SERVICE)
    assert "the group 64302 can change it" in str(refusal(file))  # nobody knows who is in it
    file.chmod(0o644)
    assert refusal(file) is None


def test_a_group_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian and Red Hat give each user: 0664 is fine, until a second member or a list of others."""
    file = tmp_path / "config.toml"
    file.write_text("")
    os.chown(file, SERVICE, SERVICE)
    file.chmod(0o664)
    me = pwd.struct_passwd(("service", "x", SERVICE, SERVICE, "", "/", "/bin/sh"))
    him = pwd.struct_passwd(("mallory", "x", ATTACKER, SERVICE, "", "/", "/bin/sh"))
    users = [me]
    monkeypatch.setattr(os, "geteuid", lambda: SERVICE)
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: {"service": me, "mallory": him}[name])
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("service", "x", gid, members)))
    members: list[str] = []
    assert refusal(file) is None
    members = ["service", "mallory"]
    assert "the group service" in str(refusal(file))
    members, users = [], [me, him]
    assert "the group service" in str(refusal(file))


def test_a_list_that_lets_another_user_write(tmp_path: Path) -> None:
    """An access control list shows in the group's bits alone."""
    file = tmp_path / "config.toml"
    file.write_text("")
    entries = [(1, 6, 2**32 - 1), (2, 6, ATTACKER), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 4, 2**32 - 1)]
    made = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(file, "system.posix_acl_access", made)
    except OSError:
        pytest.skip("this file system has no access control lists")
    assert file.stat().st_mode & stat.S_IWGRP
    assert refusal(file)


def test_a_mount_for_reading_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes puts settings into a folder 0777 that nobody can write to; a foreign owner still counts."""
    file = tmp_path / "config.toml"
    file.write_text("")
    file.chmod(0o666)
    assert weaknesses(file)
    real = os.statvfs(file)
    fields = [*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax]
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    assert weaknesses(file) == []
    os.chown(file, ATTACKER, ATTACKER)
    assert weaknesses(file)


def test_links_in_a_circle_and_odd_names(tmp_path: Path) -> None:
    """They end, and the command is quoted."""
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        refusal(tmp_path / "a")
    odd = tmp_path / "it's; touch x"
    odd.write_text("")
    odd.chmod(0o666)
    subprocess.run(["sh", "-ec", str(refusal(odd)).partition("End it: ")[2]], check=True, cwd=tmp_path)
    assert (weaknesses(odd), (tmp_path / "x").exists()) == ([], False)
    assert foreign_link(odd) is None
