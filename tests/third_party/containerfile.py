"""A Containerfile, read, and its steps performed in plain directory trees, one for each stage."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.third_party.tree import Tree, ended

PATHS = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


@dataclass
class Image:
    """A stage: its tree, and what a container of it starts with."""

    tree: Tree
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATHS})
    folder: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def instructions(text: str) -> list[tuple[str, str]]:
    """Returns each instruction with its argument on one line; comments are left out."""
    bare = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], " ".join(line.split()[1:])) for line in bare.splitlines() if line.strip()]


class Builder:
    """Performs instructions as an engine does; the base image is this machine, see tree.py."""

    def __init__(
        self, context: Path, folder: Path, binds: dict[str, tuple[Path, bool]], build: dict[str, str]
    ) -> None:
        self._context, self._folder, self._binds, self._build = context, folder, binds, build
        self._stages: dict[str, Image] = {}

    def build(self, text: str) -> Image:
        """Returns the last stage. Raises KeyError for an instruction that it does not know."""
        for name, argument in instructions(text):
            getattr(self, f"_{name.lower()}")(argument)
        return self._here

    def _arg(self, argument: str) -> None:
        assert re.fullmatch(r"BASE=python:[\w.-]+", argument)

    def _from(self, argument: str) -> None:
        name = argument.rsplit(maxsplit=1)[-1] if " AS " in argument else str(len(self._stages))
        self._here = self._stages[name] = Image(Tree(self._folder / name, self._binds).planted())

    def _run(self, argument: str) -> None:
        here, environment = self._here, {**self._here.environment, **self._build}
        code, said = ended(here.tree.start(["/bin/sh", "-c", argument], environment, here.folder), 300)
        assert code == 0, f"{argument}\n{said}"

    def _copy(self, argument: str) -> None:
        words = shlex.split(argument)
        base = self._context
        if words[0].startswith("--from="):
            base = self._stages[words.pop(0).removeprefix("--from=")].tree.root
        *sources, target = words
        to = self._here.tree.root / self._here.folder[1:] / target.lstrip("/")
        if target.startswith("/"):
            to = self._here.tree.root / target[1:]
        for source in sources:
            self._put(base / source.lstrip("/"), to / source if target == "./" else to)

    def _put(self, source: Path, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(source, to)

    def _env(self, argument: str) -> None:
        self._here.environment |= dict(pair.split("=", 1) for pair in shlex.split(argument))

    def _workdir(self, argument: str) -> None:
        self._here.folder = argument
        (self._here.tree.root / argument[1:]).mkdir(parents=True, exist_ok=True)

    def _user(self, argument: str) -> None:
        self._here.user = argument

    def _volume(self, argument: str) -> None:
        self._here.volumes.append(argument)

    def _stopsignal(self, argument: str) -> None:
        assert argument == "SIGTERM"

    def _entrypoint(self, argument: str) -> None:
        self._here.entrypoint = json.loads(argument)

    def _cmd(self, argument: str) -> None:
        self._here.command = json.loads(argument)
