"""Says who besides us can change what a path leads to, and the command that ends it.

We are the process's user, root, and the owner of this program, who could change the program itself. A group counts as
one of us when it has no other member, like the private group that Debian and Red Hat give each user; so does the
group root. On a read-only mount, where Kubernetes puts settings, only the owner counts: the mode allows no writes.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_LINKS = 40
"""As many as Linux follows."""
GROUP, OTHERS = stat.S_IWGRP, stat.S_IWOTH


@dataclass(frozen=True)
class Weakness:
    """One file, folder or link on the way to a path that somebody else can change."""

    path: str
    what: str
    """`folder`, `link` or `file`."""
    who: str
    """Who can change it, in words."""
    command: str
    """What ends that."""


def weaknesses(path: Path | str) -> list[Weakness]:
    """Returns what lets somebody else change what `path` leads to: the file, every folder above, every link.

    What is not there yet has no weakness of its own. Raises OSError for a folder that cannot be looked into.
    """
    ours = _ours()
    return [found for step, info in _steps(os.fspath(path)) if (found := _weakness(step, info, ours))]


def refusal(path: Path | str) -> str | None:
    """Returns why a settings file does not count, in one line with the commands that end it; None: it counts."""
    file = os.path.abspath(path)
    if _never_ends(path):
        return f"{file} is a pipe or a device, and reading it may never end; put a file in its place"
    found = weaknesses(path)
    if not found:
        return None
    who = dict.fromkeys(f"{one.who} can change {_named(one, file)}" for one in found)
    commands = " && ".join(dict.fromkeys(one.command for one in found))
    return f"{file} is not read: {' and '.join(who)}, and so could have keys sent to another host. End it: {commands}"


def _never_ends(path: Path | str) -> bool:
    """Returns whether to read a path may wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError:  # the code that opens it reports the reason
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def foreign_link(path: Path | str) -> Weakness | None:
    """Returns the first link on the way to `path` that is not ours, as somebody may have planted it."""
    try:
        return next((one for one in weaknesses(path) if one.what == "link"), None)
    except OSError:  # the code that opens it reports the reason
        return None


def planted(path: Path | str) -> Weakness | None:
    """Returns the first link or file on the way that somebody else may have put there to get what is written to it.

    Such a link or file is not ours, and every user may write to its folder or to the file itself. Linux has the same
    rule, `fs.protected_symlinks` and `fs.protected_regular`. What only a group may write does not count.
    """
    try:
        weak = weaknesses(path)
    except OSError:  # as above
        return None
    for found in weak:
        info = os.lstat(found.path)
        if info.st_uid not in _ours() and found.what != "folder":
            open_to_all = os.lstat(os.path.dirname(found.path)).st_mode | (
                0 if found.what == "link" else info.st_mode
            )
            if open_to_all & OTHERS:
                return found
    return None


def _named(found: Weakness, path: str) -> str:
    return "it" if found.path == path else f"the {found.what} {found.path}"


def _ours() -> frozenset[int]:
    return frozenset({0, os.geteuid(), os.stat(__file__).st_uid})


def _steps(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yields what a path leads through, as the system goes: from the root, every link before what it points to."""
    # Not by abspath(): after a link to a folder, `..` is what is above the link's target.
    done, rest, links = "/", os.path.join(os.getcwd(), path).split("/")[::-1], 0
    yield done, os.lstat(done)
    while rest:
        part = rest.pop()
        if part == "..":
            done = os.path.dirname(done)
        elif part not in ("", "."):
            step = os.path.join(done, part)
            try:
                info = os.lstat(step)
            except FileNotFoundError:
                return
            yield step, info
            if not stat.S_ISLNK(info.st_mode):
                done = step
                continue
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(step)
            done = "/" if target.startswith("/") else done
            rest += target.split("/")[::-1]


def _weakness(step: str, info: os.stat_result, ours: frozenset[int]) -> Weakness | None:
    link, folder = stat.S_ISLNK(info.st_mode), stat.S_ISDIR(info.st_mode)
    what = "link" if link else "folder" if folder else "file"
    sudo, quoted = "" if os.geteuid() == 0 else "sudo ", shlex.quote(step)
    if info.st_uid not in ours:
        command = f"{sudo}chown {'-h ' if link else ''}{_user(os.geteuid())} {quoted}"
        return Weakness(step, what, f"the user {_user(info.st_uid)}", command)
    # The mode of a link says nothing on Linux; only who may write to its folder counts.
    bits = 0 if link else info.st_mode & (GROUP | OTHERS)
    # With the sticky bit, as in /tmp, users may remove only their own files.
    if (folder and info.st_mode & stat.S_ISVTX) or not bits or os.statvfs(step).f_flag & os.ST_RDONLY:
        return None
    if bits == GROUP and _is_private(info.st_gid, step, ours):
        return None
    letters = ("g" if bits & GROUP else "") + ("o" if bits & OTHERS else "")
    mine = "" if info.st_uid == os.geteuid() else sudo
    who = "every user of this machine" if bits & OTHERS else f"the group {_group(info.st_gid)}"
    return Weakness(step, what, who, f"{mine}chmod {letters}-w {quoted}")


def _is_private(group: int, step: str, ours: frozenset[int]) -> bool:
    """Returns whether we are the only members of a group. One without a known member may have others."""
    # Under an access control list the group's bits are the most that any of its entries has.
    if _has_list(step):
        return False
    if group == 0:
        return True
    try:
        named = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(group).gr_mem}
    except KeyError:
        return False
    # A group's own list leaves out the users whose first group it is.
    members = named | {one.pw_uid for one in pwd.getpwall() if one.pw_gid == group}
    return bool(members) and members <= ours


def _has_list(step: str) -> bool:
    try:
        return bool(os.getxattr(step, "system.posix_acl_access"))
    except (AttributeError, OSError):  # another system than Linux, or none is set
        return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
