"""Makes the folders for working files: they hold records of vendors, so each is ours alone, or refused.

No name of a destination may enter.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gapless.pipelines.errors import WrongSettings
from gapless.sources._files.writers import planted, weaknesses

STATE, RUNTIME = "XDG_STATE_HOME", "XDG_RUNTIME_DIR"
"""Folders of the user's own, as https://specifications.freedesktop.org/basedir/latest/ has them."""
OWNER_ONLY = 0o077
"""The umask with which files are readable and writable by their owner alone."""
ELSEWHERE = f"Remove it, or set {STATE} to a folder of your own."


def state_folder() -> Path | None:
    """Returns the folder for working files that is the same for each process of this user, and makes it.

    It is in $XDG_STATE_HOME, else in ~/.local/state, else in $XDG_RUNTIME_DIR; None: there is no such folder that is
    ours, as for a service without a home. Raises WrongSettings for an XDG_STATE_HOME that cannot be used, and for a
    folder `gapless` in one of them that is not ours alone.
    """
    given = os.environ.get(STATE, "")
    if given.startswith(("~", "$")):  # a shell replaces it; a scheduler or a container does not
        raise WrongSettings(
            f"{STATE}: nothing replaces the {given[0]} of {given!a} in a setting; write the whole path."
        )
    for base, chosen in (
        (given, True),
        (os.path.expanduser("~/.local/state"), False),
        (os.environ.get(RUNTIME), False),
    ):
        if not base or not os.path.isabs(base):  # the specification has relative ones ignored
            continue
        problem = _unusable(base)
        if problem is None:
            return _own(Path(base) / "gapless")
        if chosen:
            raise WrongSettings(f"{STATE}: {base!a} {problem}; set it to a folder of your own.")
    return None


def working_root(beside: Path | None = None, *, needed_by_all: bool = True) -> Path:
    """Returns the folder for working files, and makes it: the user's own, else beside the database `beside`.

    Without either it is in the temporary folder, by a name that each process of this user finds. If that is taken, it
    is one for this process alone, unless it is `needed_by_all`, as where it holds the only lock. Raises WrongSettings
    when there is none that is ours alone.
    """
    if found := state_folder():
        return found
    try:
        if beside and not weaknesses(beside.parent):
            return _own(beside.with_name(f".{beside.name}.gapless"))
        # Where others can make folders a name that can be guessed may be taken: _own() then refuses it.
        return _own(_temporary() / f"gapless-{os.geteuid()}")
    except (WrongSettings, OSError):
        if needed_by_all:
            raise
        return temporary_folder()


_made: dict[int, Path] = {}
"""The temporary folder of each process, by its number: a fork has the memory of the process before."""


def temporary_folder() -> Path:
    """Returns a folder of this process, which is removed at its end. Raises WrongSettings when none can be made."""
    owner = os.getpid()
    # A process may run for months, and systems remove what is old in their temporary folder.
    if owner not in _made or not _made[owner].is_dir():
        made = _made[owner] = Path(tempfile.mkdtemp(prefix="gapless-", dir=_temporary()))
        atexit.register(_remove, made, owner)
    return _made[owner]


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # the end of a fork is not ours
        shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> Path:
    """Returns the system's temporary folder. Raises WrongSettings when it cannot be used."""
    try:
        root = tempfile.gettempdir()
        root.encode()
        found = weaknesses(root)
    except FileNotFoundError:
        raise WrongSettings("no temporary folder can be written to; set TMPDIR to one that can.") from None
    except UnicodeEncodeError:
        raise WrongSettings(f"TMPDIR: its path {root!a} is not valid UTF-8; set it to another folder.") from None
    if found:
        raise WrongSettings(f"{found[0].who} can change {root}; set TMPDIR or {STATE} to a folder of your own.")
    return Path(root)


def _unusable(base: str) -> str | None:
    """Returns why a folder of the user's cannot be used, None when it can; makes it if it is missing."""
    try:
        base.encode()  # dlt writes its path into JSON
        if found := weaknesses(base):
            return f"can be changed by {found[0].who}"
        Path(base).mkdir(mode=0o700, parents=True, exist_ok=True)
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    return None if os.access(base, os.W_OK | os.X_OK) else "cannot be written to"


def _own(folder: Path) -> Path:
    """Returns the folder, made if it is missing. Raises WrongSettings unless it is real, ours, and ours alone."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise WrongSettings(f"cannot make the folder {folder}: {error.strerror}. Set {STATE} or TMPDIR.") from None
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise WrongSettings(f"{folder} is to hold working files, and is no folder. {ELSEWHERE}")
    if info.st_uid != os.geteuid():
        raise WrongSettings(f"{folder} is to hold working files, and belongs to somebody else. {ELSEWHERE}")
    if info.st_mode & OWNER_ONLY:
        end = f"chmod 700 {shlex.quote(str(folder))}"
        raise WrongSettings(f"{folder} is to hold working files, and others can look into it. End it: {end}")
    return folder


def real_path(path: Path | str) -> Path:
    """Returns the path of a database without links. Raises WrongSettings for what somebody else may have planted."""
    if found := planted(path):
        raise WrongSettings(
            f"{path}: the {found.what} {found.path} belongs to {found.who}, where everybody may write, so nothing is"
            " written there. Remove it, or choose a folder of your own."
        )
    return Path(path).resolve()


_umask = threading.Lock()
_blocks = [0, 0]
"""How many blocks run, and the umask before the first: it belongs to the process, not to a thread."""


@contextmanager
def private_files() -> Iterator[None]:
    """Makes what is written meanwhile readable by its owner alone, whichever library writes it."""
    with _umask:
        if not _blocks[0]:
            _blocks[1] = os.umask(OWNER_ONLY)
        _blocks[0] += 1
    try:
        yield
    finally:
        with _umask:
            _blocks[0] -= 1
            if not _blocks[0]:
                os.umask(_blocks[1])
