"""The container's recipe: its steps are performed in a plain directory tree, and what they made runs as a container.

No container engine is at hand. The tree's programs are this machine's, and its Python is this one.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml

from gapless.sources._http.testing import serve
from gapless.sources.tines.fake import TinesFake
from tests.docs.test_pages import blocks, page
from tests.docs.test_scheduler_recipes import ROOT, assert_synced
from tests.third_party.containerfile import Builder, Image
from tests.third_party.tools import tool
from tests.third_party.tree import CAN_ENTER, Tree, ended, first_process

pytestmark = [
    pytest.mark.peer,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CAN_ENTER, reason="walls are built by root alone, with unshare"),
]
CANARY = "cAnArY-of-the-context"
SETTINGS = {
    "TINES_API_KEY": "demo-key",
    "TINES_REQUESTS_PER_MINUTE": "100000",
    "GAPLESS_PUBLISH": "/data/readers.duckdb",
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the lock that the page of security shows, and with secrets beside it."""
    folder = tmp_path_factory.mktemp("context")
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("sources", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".dlt").mkdir()
    for name in (".dlt/secrets.toml", "gapless.env", "gapless.duckdb"):
        (folder / name).write_text(CANARY)
    (lock,) = [text for _, text in blocks(page("SECURITY.md"), "sh") if "pip-compile" in text]
    (line,) = [line for line in lock.replace("\\\n", " ").splitlines() if line.startswith("pip-compile")]
    command = [tool("pip-tools==7.6.2", "pip-compile"), *shlex.split(line)[1:]]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PIP_CONSTRAINT": ""})
    return folder


@pytest.fixture(scope="module")
def image(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """What the Containerfile makes; pip has the files that the lock names, and no index."""
    folder = tmp_path_factory.mktemp("image")
    (wheels := folder / "wheels").mkdir()
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    files = ["-r", "requirements.txt", "-d", str(wheels)]
    subprocess.run([*download, *files], cwd=context, check=True, env={**os.environ, "PIP_CONSTRAINT": ""})
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/mnt/wheels", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    builder = Builder(context, folder, {"/mnt/wheels": (wheels, False)}, pip)
    return builder.build((ROOT / "pipelines/docs/container/Containerfile").read_text())


@pytest.fixture
def container(image: Image, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """`container()` starts one; its volume is `tmp_path / "data"`, which begins as the image has it."""
    assert image.volumes == ["/data"]
    shutil.copytree(image.tree.root / "data", tmp_path / "data")
    owner = (image.tree.root / "data").stat()
    os.chown(tmp_path / "data", owner.st_uid, owner.st_gid)
    tree = Tree(image.tree.root, {"/data": (tmp_path / "data", True)})
    user, group = image.user.split(":")
    assert user == group != "0"

    def start(*command: str, **settings: str) -> subprocess.Popen[str]:
        environment = image.environment | SETTINGS | settings
        return tree.start([*(command or [*image.entrypoint, *image.command])], environment, image.folder, int(user))

    return start


@pytest.fixture
def vendor() -> Iterator[tuple[str, TinesFake, dict[int, Callable[[], None]]]]:
    """The imitated Tines, its address, and what happens at which request."""
    fake, happens = TinesFake.demo(), dict[int, Callable[[], None]]()

    def handle(request: httpx.Request) -> httpx.Response:
        happens.pop(len(fake.requests), lambda: None)()
        return fake.handle(request)

    with serve(handle) as address:
        yield address, fake, happens


def test_the_image(image: Image) -> None:
    """What it runs belongs to root, nobody else can write there, and no secret beside the recipe is in it."""
    files = [path for path in (image.tree.root / "opt").rglob("*") if not path.is_symlink()]
    assert len(files) > 1000
    assert [path for path in files if path.stat().st_uid != 0 or path.stat().st_mode & 0o022] == []
    made = [path for name in ("opt", "data", "etc", "src", "tmp") for path in (image.tree.root / name).rglob("*")]
    assert [path for path in made if path.is_file() and CANARY.encode() in path.read_bytes()] == []
    assert (image.tree.root / "data").stat().st_mode & 0o777 == 0o700


def test_a_sync_in_the_container(
    container: Callable[..., subprocess.Popen[str]], vendor: tuple[str, TinesFake, Any], tmp_path: Path
) -> None:
    """With a root that is read-only it syncs, twice; the health check of the page finds all well, and later not."""
    address, fake, _ = vendor
    for _ in range(2):
        code, said = ended(container(TINES_BASE_URL=address))
        assert code == 0, said
    assert_synced(tmp_path / "data" / "gapless.duckdb", {"tines": fake})
    (compose,) = [text for _, text in blocks(page("pipelines/docs/CONTAINER.md"), "yaml") if "services:" in text]
    service = yaml.safe_load(compose)["services"]["gapless"]
    assert service["environment"]["GAPLESS_PUBLISH"] == SETTINGS["GAPLESS_PUBLISH"]
    check = ["/bin/sh", "-c", service["healthcheck"]["test"]]
    assert ended(container(*check))[0] == 0
    assert ended(container(*check[:2], check[2].replace("2h", "1s")))[0] == 3


def test_sigterm_in_the_container(
    container: Callable[..., subprocess.Popen[str]], vendor: tuple[str, TinesFake, Any], tmp_path: Path
) -> None:
    """The first process ends with its code for a stop; what was committed stays, and the next one goes on."""
    address, fake, happens = vendor
    running: list[subprocess.Popen[str]] = []
    happens[3] = lambda: os.kill(first_process(running[0]), signal.SIGTERM)
    running.append(container(TINES_BASE_URL=address))
    code, said = ended(running[0])
    assert (code, "Stopped" in said, happens) == (130, True, {}), said
    code, said = ended(container(TINES_BASE_URL=address))
    assert code == 0, said
    assert_synced(tmp_path / "data" / "gapless.duckdb", {"tines": fake})


def test_the_walls_are_there(container: Callable[..., subprocess.Popen[str]]) -> None:
    """The twin: what a container may not do fails there, too."""
    for refused in (
        "touch /opt/gapless/x",
        "touch /etc/x",
        "mount -t tmpfs x /data",
        "cp /bin/true /tmp/x && /tmp/x",
    ):
        code, said = ended(container("/bin/sh", "-c", refused))
        assert code != 0, (refused, said)
    assert ended(container("/bin/sh", "-c", "touch /data/x /tmp/x && test $$ = 1"))[0] == 0
