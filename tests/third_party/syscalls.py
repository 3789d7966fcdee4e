"""A unit's filter of system calls and of address families, as systemd would build it: for where no systemd runs.

The names of a group come from `systemd-analyze syscall-filter`; the filter is libseccomp's, as systemd's own is.
"""

from __future__ import annotations

import re
import socket
import subprocess

FILTER = """\
import ctypes, os, sys

ALLOW, REFUSE, EQUAL = 0x7FFF0000, 0x00050000 | 1, 4
class Argument(ctypes.Structure):
    _fields_ = [("at", ctypes.c_uint), ("is", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

families, names, command = sys.argv[1].split(), sys.argv[2].split(), sys.argv[3:]
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
rules = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
for name in names:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number != -1 and name != "socket":
        seccomp.seccomp_rule_add_array(rules, ALLOW, number, 0, None)
for family in families:
    first = Argument(0, EQUAL, int(family), 0)
    number = seccomp.seccomp_syscall_resolve_name(b"socket")
    assert seccomp.seccomp_rule_add_array(rules, ALLOW, number, 1, ctypes.byref(first)) == 0
assert seccomp.seccomp_load(rules) == 0
os.execv(command[0], command)
"""


def filtered(group: str, families: str, python: str) -> list[str]:
    """Returns what stands before a command: it may then use the calls of a group and sockets of these families."""
    numbers = " ".join(str(int(getattr(socket, name))) for name in families.split())
    return [python, "-c", FILTER, numbers, " ".join(sorted(_calls(group) | _calls("@default")))]


def _calls(group: str) -> set[str]:
    """Returns the system calls of one of systemd's groups, those of the groups within it among them."""
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", group], capture_output=True, text=True, check=True
    ).stdout
    names = re.findall(r"^    (@?[\w-]+)$", said, re.MULTILINE)
    assert names, said
    return set[str]().union(*(_calls(name) if name.startswith("@") else {name} for name in names))
