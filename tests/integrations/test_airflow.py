"""Airflow 3 (extra `airflow`): a DAG per source, run by Airflow itself against the fakes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from gapless.pipelines.destinations.target import Target
from gapless.sources import SOURCES
from gapless.sources.omni.fake import OmniFake
from gapless.sources.tines.fake import TinesFake
from tests.support.world import World

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "pipelines" / "docs" / "SCHEDULING.md").read_text()
Begin = Callable[[Any], World]
pytestmark = pytest.mark.filterwarnings("default")
"""Airflow's own parts warn of each other."""


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Airflow's home with its database, and the guide's file in the DAG folder; before Airflow is imported."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (text,) = re.findall(r"^```python\n(# gapless_dags\.py\n.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    (home / "dags" / "gapless_dags.py").write_text(text)
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        "NO_PROXY": "127.0.0.1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        done = airflow("db", "migrate")
        assert done.returncode == 0, done.stdout
        yield settings


def airflow(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Airflow's command, in the current folder and environment."""
    return subprocess.run(
        [sys.executable, "-m", "airflow", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`run(name, type, at)`: what `airflow dags test` does, in this process, for a run of any type; its task."""
    from airflow.models import dagrun

    from gapless.pipelines.integrations import airflow_dags

    create = dagrun.get_or_create_dagrun
    monkeypatch.setattr(airflow_dags, "LOCK_RETRIES", 1)
    monkeypatch.setattr(airflow_dags, "LOCK_WAIT", timedelta(0))

    def begin(name: str, kind: str, at: datetime | None, conf: Any = None, **how: Any) -> Any:
        def typed(*, session: Any, **arguments: Any) -> Any:
            made = create(session=session, **arguments)
            made.run_type = kind
            session.commit()
            return made

        monkeypatch.setattr(dagrun, "get_or_create_dagrun", typed)
        dag = airflow_dags.dags([name], **how)[f"gapless_{name}"]
        ended = dag.test(logical_date=at, run_conf=conf)
        assert ended.run_type == kind
        (task,) = ended.get_task_instances()
        return task

    return begin


def small(kind: Any = OmniFake) -> Any:
    fake = kind(page_cap=8)
    fake.seed(5, logs=24)
    return fake


def of_hours(here: World, since: datetime, until: datetime) -> bool:
    """Whether the table holds the logs of these hours, some, and no others."""
    logs = here.fake.truth()["action_logs"]
    wanted = sorted(log["id"] for log in logs if since <= datetime.fromisoformat(log["createdAt"]) < until)
    return [row for (row,) in here.sql("select id from action_logs order by id")] == wanted != []


def an_hour_of(fake: Any) -> datetime:
    """The end of an interval (at five past, by the schedule) that has a log, far from the newest one."""
    log = datetime.fromisoformat(fake.truth()["action_logs"][7]["createdAt"]).astimezone(UTC)
    end = log.replace(minute=5, second=0, microsecond=0)
    return end if end > log else end + timedelta(hours=1)


HOUR = timedelta(hours=1)


def test_dags_test(world: Begin) -> None:
    """`airflow dags test DAG DATE` with the guide's file: the interval of the date; a bad key is a failure."""
    here = world(small())
    at = an_hour_of(here.fake) - HOUR
    done = airflow("dags", "test", "gapless_omni", at.isoformat())
    assert done.returncode == 0, done.stdout
    assert of_hours(here, at, at + HOUR)
    here.set(OMNI_API_KEY="canary-of-airflow")
    done = airflow("dags", "test", "gapless_omni", at.isoformat())
    assert (done.returncode != 0, "state=failed" in done.stdout) == (True, True), done.stdout
    assert "401" in done.stdout
    assert "canary-of-airflow" not in done.stdout


def test_the_guides_file_has_a_dag_per_source() -> None:
    """Airflow's own reader finds them, without an error; one run at a time, nothing caught up."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert bag.import_errors == {}
    assert set(bag.dags) == {f"gapless_{name}" for name in SOURCES}
    for dag in bag.dags.values():
        assert (dag.max_active_runs, dag.catchup, list(dag.task_dict)) == (1, False, ["sync"])


def test_reading_dags_is_light() -> None:
    """Airflow reads the file again and again: dlt, DuckDB and the sources are not imported for it."""
    heavy = "{'dlt', 'duckdb', 'pyarrow', 'sources.omni'}"
    script = "import sys; from gapless.pipelines.integrations.airflow_dags import dags; dags();"
    script += f" sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip().endswith("set()"), done.stderr


@pytest.mark.parametrize("kind", [OmniFake, TinesFake])
def test_a_run_on_the_schedule_reads_what_is_new(kind: Any, world: Begin, run: Callable[..., Any]) -> None:
    """All of it, though its data interval holds none of it; so again for what came late."""
    here = world(small(kind))
    for day in (1, 2):
        task = run(here.name, "scheduled", datetime(2030, 1, day, tzinfo=UTC))
        assert task.state == "success"
        here.assert_exact()
        here.fake.advance(60)
    told = task.xcom_pull(task_ids="sync")
    ((run_id, requests),) = here.sql("select run_id, requests from runs order by started_at desc limit 1")
    assert (told["run_id"], told["requests"], told["outcome"]) == (run_id, requests, "complete")


@pytest.mark.parametrize(("kind", "later"), [("backfill", timedelta(0)), ("manual", HOUR), ("manual", HOUR / 2)])
def test_a_run_for_its_date_reads_its_interval(
    kind: str, later: timedelta, world: Begin, run: Callable[..., Any]
) -> None:
    """Exactly that; no watermark moves, so that the next run on the schedule reads all the rest. Here Airflow gives a
    run the interval that ended before its date, so of a backfill that; a run by hand reads the one of its date."""
    here = world(small())
    at = an_hour_of(here.fake)
    assert run("omni", kind, at - later).state == "success"
    assert of_hours(here, at - HOUR, at)
    assert run("omni", "scheduled", here.fake.now).state == "success"
    here.assert_exact()


def test_a_run_with_a_span_in_its_configuration(world: Begin, run: Callable[..., Any]) -> None:
    """`since` and `until` count more than the data interval."""
    here = world(small())
    until = here.fake.now - timedelta(days=3)
    conf = {"since": (until - timedelta(days=12)).isoformat(), "until": until.isoformat()}
    assert run("omni", "manual", here.fake.now, conf).state == "success"
    assert of_hours(here, until - timedelta(days=12), until)


@pytest.mark.parametrize("dated", [False, True])
def test_a_run_by_hand_reads_what_is_new(dated: bool, world: Begin, run: Callable[..., Any]) -> None:
    """Without a date it has no data interval; the page of Airflow puts the present time there."""
    here = world(small())
    assert run("omni", "manual", datetime.now(UTC) if dated else None).state == "success"
    here.assert_exact()


def test_a_partial_sync(world: Begin, run: Callable[..., Any]) -> None:
    """A success with a warning that names the lead, or by `fail_on_partial` a failure; all else is loaded."""
    here = world(small())
    lead = here.fake.truth()["leads"][0]["leadId"]
    here.fake.failing[lead] = 500
    assert run("omni", "scheduled", here.fake.now).state == "success"
    assert here.sql("select outcome from runs") == [("partial",)]
    assert run("omni", "scheduled", here.fake.now + HOUR, fail_on_partial=True).state == "failed"
    here.mend()
    assert run("omni", "scheduled", here.fake.now + 2 * HOUR).state == "success"
    here.assert_exact()


def test_settings_that_are_missing(world: Begin, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The task fails at once: trying again would not set them."""
    here = world(small())
    monkeypatch.delenv("OMNI_API_KEY")
    task = run("omni", "scheduled", here.fake.now)
    assert (task.state, task.try_number) == ("failed", 1)


def test_a_held_lock(world: Begin, run: Callable[..., Any]) -> None:
    """Nobody is asked; it is tried again, and then it fails: a run that read nothing is no success."""
    here = world(small())
    with FileLock(Target.find("duckdb").lock_file):
        for kind, at in (("scheduled", here.fake.now), ("backfill", here.fake.now + HOUR)):
            task = run("omni", kind, at)
            assert (task.state, task.try_number, here.asked()) == ("failed", 2, 0)
