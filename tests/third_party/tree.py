"""A plain directory tree in the place of a container or of a service's walls: no engine is needed, only root.

A tree has this machine's programs and libraries, read-only, and this Python at /usr/local, where the image `python`
has its own. What runs there is the first process of its own process namespace, with no privilege to gain and, unless
it builds, with nothing writable but the folders that are named.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ENTER = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
bind() {{ mount --bind "$1" "$ROOT$2"; mount -o "remount,bind,nosuid,$3" "$ROOT$2"; }}
bind /usr /usr ro
bind {python} /usr/local ro
{binds}
ldconfig -r "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
{walls}
cd "$ROOT"
exec chroot . /usr/bin/setpriv {privileges} /usr/bin/env -i -C {folder} {environment} {command}
"""
WALLS = """
mount -t tmpfs -o mode=1777,noexec,nosuid,nodev tmpfs "$ROOT/tmp"
mount -o remount,bind,ro,nosuid "$ROOT"
"""
NOBODYS = "--reuid {0} --regid {0} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all"
CAN_ENTER = (
    os.getuid() == 0
    and not subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True
    ).returncode
)


@dataclass(frozen=True)
class Tree:
    """One root directory, and which folders of this machine are seen in it."""

    root: Path
    binds: dict[str, tuple[Path, bool]] = field(default_factory=dict)
    """By the path in the tree: a folder of this machine, and whether it can be written to."""

    def planted(self) -> Tree:
        """Makes the folders and files that every system has; returns the tree."""
        for name in ("usr", "proc", "dev", "tmp", "root", "home", "opt", "srv", "run", "var/lib", "etc"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name in ("nsswitch.conf", "hosts", "login.defs", "localtime"):
            if (found := Path("/etc") / name).exists():
                shutil.copy(found, self.root / "etc" / name)
        (self.root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.root / "etc" / "ld.so.conf").write_text("/usr/local/lib\n")
        (self.root / "etc" / "group").write_text("root:x:0:\n")
        for path in self.binds:
            (self.root / path[1:]).mkdir(parents=True, exist_ok=True)
        return self

    def start(
        self, command: list[str], environment: dict[str, str], folder: str = "/", user: int | None = None
    ) -> subprocess.Popen[str]:
        """Starts a command as a user within walls; without a user as root, who may write, as a build does."""
        script = ENTER.format(
            python=shlex.quote(sys.base_prefix),
            binds="\n".join(self._bind(path) for path in self.binds),
            walls="" if user is None else WALLS,
            privileges="--no-new-privs" if user is None else NOBODYS.format(user),
            folder=folder,
            environment=shlex.join(f"{name}={value}" for name, value in environment.items()),
            command=shlex.join(command),
        )
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", script]
        return subprocess.Popen(
            alone,
            env={**os.environ, "ROOT": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _bind(self, path: str) -> str:
        source, writable = self.binds[path]
        return f"bind {shlex.quote(str(source))} {path} {'rw' if writable else 'ro'}"


def ended(running: subprocess.Popen[str], seconds: float = 100) -> tuple[int, str]:
    """Returns a process's exit code and what it said."""
    said, _ = running.communicate(timeout=seconds)
    return running.returncode, said


def first_process(running: subprocess.Popen[str]) -> int:
    """Returns the process id, as it is here, of what runs in the tree as process 1."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    return int(children[0])
