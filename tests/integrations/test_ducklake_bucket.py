"""A DuckLake whose files are in a bucket of moto's server, which speaks S3; needs the extra `ducklake` and moto.

MOTO_SERVER names its program: moto does not install beside the versions of `constraints.txt`.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2 as httpx
import pyarrow.parquet as pq
import pytest

from gapless.sources import SOURCES
from tests.contract.commands import document, gapless
from tests.contract.subject import subject
from tests.support.destinations import Begin, killed, seeded
from tests.support.lakes import assert_kept_up, differences
from tests.support.postgres import Server
from tests.support.world import World, some

MOTO = os.environ.get("MOTO_SERVER") or shutil.which("moto_server") or ""
pytestmark = pytest.mark.skipif(not MOTO, reason="MOTO_SERVER names no program")
CANARY = "Zyxomma-4711"
CLIENT = "gapless.pipelines.destinations._dlt.ducklake_client:SessionSqlClient"
CREDENTIALS = "DESTINATION__DUCKLAKE__CREDENTIALS"
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary-secret", "REGION_NAME": "us-east-1"}


@dataclass
class Bucket:
    """The bucket that a lake's files go to; moto checks no signature, but asks for one."""

    url: str

    def keys(self) -> list[str]:
        return re.findall("<Key>([^<]+)</Key>", httpx.get(self.url).text)

    def content(self, key: str) -> bytes:
        got = httpx.get(f"{self.url}/{key}", headers={"Authorization": "AWS any:signature"})
        return got.raise_for_status().content

    def empty(self) -> None:
        for key in self.keys():
            httpx.delete(f"{self.url}/{key}")

    def holding(self, canary: str) -> list[str]:
        """Returns the objects in which a text is."""
        found = []
        for key, content in ((key, self.content(key)) for key in self.keys()):
            rows = pq.read_table(io.BytesIO(content)).to_pylist() if key.endswith(".parquet") else ()
            if canary.encode() in content or any(canary in str(row) for row in rows):
                found.append(key)
        return found


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """Returns where a server of S3 listens."""
    with subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        for line in server.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        assert found, "it ended before it listened"
        # Its log of requests must be read, or it stops when the pipe is full.
        with subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL):
            yield found[0]
            server.terminate()


@pytest.fixture
def bucket(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, which is where the files of a lake go."""
    made = Bucket(f"{store}/lake")
    httpx.put(made.url).raise_for_status()
    made.empty()
    keys = {**KEYS, "ENDPOINT_URL": store, "S3_URL_STYLE": "path"}
    settings = {"BUCKET_URL": "s3://lake/files", **{f"CREDENTIALS__{name}": value for name, value in keys.items()}}
    for name, value in settings.items():
        monkeypatch.setenv(f"{CREDENTIALS}__STORAGE__{name}", value)
    yield made
    made.empty()


@pytest.fixture
def destination() -> str:
    """Where `world` has its data."""
    return "ducklake"


@pytest.fixture
def land(world: Begin, bucket: Bucket) -> Callable[[str], World]:
    """A vendor and no lake."""
    return lambda name: world(seeded(name))


@pytest.mark.parametrize("name", some(SOURCES, "sequence"))
def test_the_files_are_in_the_bucket(name: str, land: Callable[[str], World], bucket: Bucket) -> None:
    """First, idle and changed: exact, and every command agrees; nothing but the catalog is on this machine."""
    here = land(name).alone()
    assert_kept_up(here)
    assert bucket.keys() != []
    assert not (here.folder / "ducklake.files").exists()
    for command in (["gaps"], ["status"], ["doctor"], ["verify", name, "--whole"], ["compact"]):
        done = gapless(here, *command)
        assert (done.exit_code, "canary-secret" in done.output) == (0, False), done.output
    assert differences(here) == []
    here.complete()


def test_a_catalog_in_postgres(land: Callable[[str], World], server: Server, bucket: Bucket) -> None:
    """Then nothing is on this machine."""
    here = land("sequence")
    here.set(**{f"{CREDENTIALS}__CATALOG": server.database()})
    here.complete(package_records=12)
    here.fake.advance(45)
    here.complete()
    assert differences(here) == []
    assert bucket.keys() != []
    assert list(here.folder.glob("ducklake*")) == []


@pytest.mark.parametrize("statement", some([15, 30, 45, 60], 30))
def test_killed(statement: int, land: Callable[[str], World], bucket: Bucket) -> None:
    """kill -9 at a counted statement: the next sync ends exact."""
    here = land("sequence")
    here.complete()
    here.fake.advance(45)
    assert killed(here, CLIENT, statement)
    here.complete()
    assert differences(here) == []


def test_wide_records(land: Callable[[str], World], bucket: Bucket) -> None:
    """1,200 records of 20 KB, then compacted: DuckDB holds a part of each file that it uploads."""
    here, add = land("tines"), subject("tines").add_one
    for number in range(1_200):
        add(here.fake, message=f"{number} " + "x" * 20_000)
    here.complete()
    assert differences(here) == []
    assert gapless(here, "compact").exit_code == 0
    assert differences(here) == []


def test_what_was_erased_is_in_no_object(land: Callable[[str], World], bucket: Bucket) -> None:
    """Of a record that was loaded; its files are gone when the command ends, and no sync brings it back."""
    here, omni = land("omni"), subject("omni")
    record = omni.add_one(here.fake, **{omni.text: CANARY, **omni.with_children})
    here.complete()
    assert bucket.holding(CANARY) != [], "this looks where nothing is"
    done = document(here, "forget", "omni", "--id", record, "--reason", "asked", "--yes")
    assert done["exit_code"] == 0, done
    assert bucket.holding(CANARY) == []
    here.fake.advance(45)
    here.complete()
    assert bucket.holding(CANARY) == []
