"""Dagster (extra `dagster`): what stands in the register as assets, checks, jobs and schedules that really run."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx2 as httpx
import psycopg2
import pytest
import yaml
from filelock import FileLock

from gapless.pipelines.destinations.target import Target
from gapless.pipelines.errors import WrongSettings
from gapless.pipelines.integrations import dagster_assets, dagster_steps
from gapless.pipelines.integrations.dagster_assets import definitions, defs
from gapless.pipelines.integrations.dagster_checks import CHECKS
from gapless.pipelines.outcome import LEDGER_TABLES
from gapless.sources import SOURCES
from gapless.sources._extract.resource import shapes
from gapless.sources.omni.fake import OmniFake
from gapless.sources.sequence.fake import SequenceFake
from gapless.sources.tines.fake import TinesFake
from tests.contract.commands import gapless
from tests.support.oracle import assert_exact
from tests.support.postgres import Reader, Server
from tests.support.world import LET_THROUGH, World

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "pipelines" / "docs" / "SCHEDULING.md").read_text()
Begin = Callable[[Any], World]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """In memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def kept() -> Iterator[dg.DagsterInstance]:
    """In files, which schedules need; telemetry is off."""
    with dg.instance_for_test() as made:
        yield made


def small(kind: Any = OmniFake, **how: Any) -> Any:
    fake = kind(page_cap=8, **how)
    fake.seed(*(() if kind is SequenceFake else (5,)), logs=24)
    return fake


def execute(job: str, instance: dg.DagsterInstance, **how: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **how)


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Metadata by asset."""
    events = result.get_asset_materialization_events()
    return {
        event.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in events
    }


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, dg.AssetCheckSeverity]]:
    return {found.check_name: (found.passed, found.severity) for found in result.get_asset_check_evaluations()}


ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
ALL_PASS = {"proven": (True, ERROR), "no_dead_letters": (True, WARN), "last_sync_complete": (True, WARN)}


def test_the_definitions_are_the_registers() -> None:
    """One asset per table, child tables below their parents, and for each source what runs it."""
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    tables = {f"{name}/{shape.name}": shape for name in SOURCES for shape in shapes(SOURCES[name].tables)}
    runs = {f"{name}/by_day" for name in SOURCES}
    shards = {f"{name}/by_shard" for name, source in SOURCES.items() if source.split_by}
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == tables.keys() | runs | shards
    for name, shape in tables.items():
        node = graph.get(dg.AssetKey.from_user_string(name))
        parents = {key.path[-1] for key in node.parent_keys}
        assert parents == ({shape.parent} if shape.parent else set())
    repository = defs.get_repository_def()
    assert {schedule.job_name for schedule in repository.schedule_defs} >= {f"{name}_sync" for name in SOURCES}
    assert {job.name for job in repository.get_all_jobs()} >= {f"{name}_by_day" for name in SOURCES}


def test_tables_and_columns_are_described() -> None:
    """In the words of the models, as in the database."""
    specs = [spec for spec in dagster_assets.defs.resolve_all_asset_specs() if spec.metadata]
    assert len(specs) > len(SOURCES)
    for spec in specs:
        columns = spec.metadata["dagster/column_schema"].columns
        assert spec.description, spec.key
        assert [column.name for column in columns if not column.description] == [], spec.key


def test_a_part_of_the_register() -> None:
    """Other names, another destination, another cadence; a name that is no source is told."""
    cadence = {"tines": dagster_assets.Cadence("*/5 * * * *")}
    some = definitions(["tines"], destination="postgres", first_day="2026-01-01", cadence=cadence)
    assert {key.path[0] for key in some.resolve_asset_graph().get_all_asset_keys()} == {"tines"}
    crons = {schedule.name: schedule.cron_schedule for schedule in some.get_repository_def().schedule_defs}
    assert crons["tines_sync_schedule"] == "*/5 * * * *"
    with pytest.raises(Exception, match="there is no source 'tine'"):
        definitions(["tine"])


def test_tables_of_a_vendor_that_forgets_go_stale_first() -> None:
    """Tines keeps logs seven days: its tables fail with six left to mend it. Every table has a policy."""
    graph = defs.resolve_asset_graph()
    policies = {
        key.to_user_string(): graph.get(key).freshness_policy
        for key in graph.get_all_asset_keys()
        if not key.path[-1].startswith("by_")
    }
    assert all(policies.values())
    limits = {name: policy.fail_window.to_timedelta() for name, policy in policies.items()}
    assert limits["tines/action_logs"] == timedelta(days=1)
    assert max(limits.values()) == timedelta(days=3)


@pytest.mark.parametrize("kind", [OmniFake, SequenceFake, TinesFake])
def test_a_job_brings_the_tables_up_to_date(kind: Any, world: Begin, instance: dg.DagsterInstance) -> None:
    """Rows are the vendor's, metadata is what `runs` says, and all checks pass; so again when more is there."""
    here = world(small(kind))
    for _ in range(2):
        result = execute(f"{here.name}_sync", instance)
        assert result.success
        here.assert_exact()
        told = materialized(result)
        assert told.keys() == {f"{here.name}/{shape.name}" for shape in shapes(SOURCES[here.name].tables)}
        columns = ("run_id", "outcome", "packages", "requests", "retries", "seconds_waited", "failures")
        select = f"select {', '.join(columns)}, rows, new_rows from runs order by started_at desc limit 1"
        ((*run, rows, new),) = here.sql(select)
        for metadata in told.values():
            assert {name: metadata[name] for name in columns} == dict(zip(columns, run, strict=True))
        vendors = [metadata for name, metadata in told.items() if name.split("/")[1] not in LEDGER_TABLES]
        assert 0 < sum(metadata["rows_loaded"] for metadata in vendors) == rows
        assert sum(metadata["rows_new"] or 0 for metadata in vendors) == new
        assert verdicts(result) == ALL_PASS
        here.fake.advance(60)


def test_rows_loaded_are_counted_by_table(world: Begin, instance: dg.DagsterInstance) -> None:
    """Into an empty database, what was loaded is what is there."""
    here = world(small())
    told = materialized(execute("omni_sync", instance))
    held = {name: here.sql(f"select count(*) from {name.split('/')[1]}")[0][0] for name in told}
    assert {name: metadata["rows_loaded"] for name, metadata in told.items()} == held


def test_another_destination_by_config(world: Begin, instance: dg.DagsterInstance, server: Server) -> None:
    """The run config of one run says where to."""
    url = server.database()
    here = world(small()).set(DESTINATION__POSTGRES__CREDENTIALS=url)
    config = {"resources": {"gapless": {"config": {"destination": "postgres"}}}}
    assert execute("omni_sync", instance, run_config=config).success
    assert not (here.folder / "gapless.duckdb").exists()
    assert_in_postgres(here, url)


def assert_in_postgres(here: World, url: str) -> None:
    with closing(psycopg2.connect(url)) as connection:
        assert_exact(Reader(connection), here.name, here.fake.truth())  # type: ignore[arg-type]  # a Reader asks as DuckDB does


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_dead_letter_fails_its_check_until_it_is_mended(world: Begin, instance: dg.DagsterInstance) -> None:
    """The run goes well with a warning, all other rows are there; the checks alone may be run again."""
    here = world(small())
    assert verdicts(execute("omni_sync", instance)) == ALL_PASS
    here.fake.advance(5)
    lead = here.fake.truth()["leads"][0]["leadId"]
    bad = here.fake.add_log(lead, summary=[])["id"]
    result = execute("omni_sync", instance)
    assert result.success
    assert {told["outcome"] for told in materialized(result).values()} == {"partial"}
    failing = {"proven": (True, ERROR), "no_dead_letters": (False, WARN), "last_sync_complete": (False, WARN)}
    assert verdicts(result) == failing
    warnings = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == logging.WARNING]
    assert any(bad in text for text in warnings)
    alone = dg.define_asset_job("alone", dg.AssetSelection.all_asset_checks())
    again = dg.Definitions.merge(definitions(["omni"]), dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    assert verdicts(again.execute_in_process(instance=instance)) == failing
    here.fake.change(bad, summary="mended")
    assert verdicts(execute("omni_sync", instance)) == ALL_PASS
    here.assert_exact()


def test_a_parent_that_fails_is_not_proven(world: Begin, instance: dg.DagsterInstance) -> None:
    """One of five leads answers 500: the others are loaded, the check `proven` fails as an error and names it."""
    here = world(small())
    lead = here.fake.truth()["leads"][0]["leadId"]
    here.fake.failing[lead] = 500
    result = execute("omni_sync", instance)
    assert result.success
    assert verdicts(result)["proven"] == (False, ERROR)
    (proven,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "proven"]
    assert proven.metadata["action_logs"].value["failed"] == 1
    here.mend()
    assert verdicts(execute("omni_sync", instance)) == ALL_PASS


def test_a_loss_that_was_repaired_passes_all_checks(world: Begin, instance: dg.DagsterInstance) -> None:
    """The sync that found it was partial; after the repair that is named no check waits for another sync."""
    here = world(small())
    assert execute("omni_sync", instance).success
    here.database.change("omni", "delete from action_logs where _dlt_id = (select min(_dlt_id) from action_logs)")
    assert verdicts(execute("omni_sync", instance))["last_sync_complete"] == (False, WARN)
    assert gapless(here, "verify", "omni", "--repair").exit_code == 0
    assert verdicts(execute("omni_checks", instance)) == ALL_PASS


def test_what_was_never_synced_passes_no_check(world: Begin, instance: dg.DagsterInstance) -> None:
    """An empty destination proves nothing."""
    world(small())
    alone = dg.define_asset_job("alone", dg.AssetSelection.all_asset_checks())
    job = dg.Definitions.merge(definitions(["omni"]), dg.Definitions(jobs=[alone])).resolve_job_def("alone")
    assert not any(passed for passed, _ in verdicts(job.execute_in_process(instance=instance)).values())


def test_a_failed_sync_fails_the_run_without_its_keys(world: Begin, instance: dg.DagsterInstance) -> None:
    """No key is good: the op fails with the reason, nothing is materialized, no event holds a key."""
    here = world(small()).set(OMNI_API_KEY="canary-of-dagster")
    result = execute("omni_sync", instance)
    assert not result.success
    assert materialized(result) == {}
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "401" in failure.step_failure_data.error_display_string
    assert "canary-of-dagster" not in "".join(map(str, instance.all_logs(result.run_id)))
    here.set(OMNI_API_KEY="demo-key")
    assert execute("omni_sync", instance).success


def test_settings_that_are_missing_are_told(
    world: Begin, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The op fails at once and names what to set."""
    world(small())
    monkeypatch.delenv("OMNI_API_KEY")
    result = execute("omni_sync", instance)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "OMNI_API_KEY not set" in failure.step_failure_data.error_display_string


def test_a_held_lock_is_tried_again(
    world: Begin, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else is syncing: nobody is asked, and the step is retried until it is free."""
    here = world(small())
    monkeypatch.setattr(dagster_steps, "LOCK_WAIT", 0.0)
    monkeypatch.setattr(dagster_steps, "LOCK_RETRIES", 2)
    lock = FileLock(Target.find("duckdb").lock_file)
    with lock:
        result = execute("omni_sync", instance)
    assert (result.success, here.asked()) == (False, 0)
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 2
    assert execute("omni_sync", instance).success
    here.assert_exact()


# -- partitions ------------------------------------------------------------------------------------


def of_days(fake: Any, first: datetime, last: datetime) -> list[str]:
    logs = fake.truth()["action_logs"]
    return sorted(log["id"] for log in logs if first <= datetime.fromisoformat(log["createdAt"]) < last)


def test_a_day_is_read_as_a_window(world: Begin, instance: dg.DagsterInstance) -> None:
    """The partition's records and no others; the next sync still reads all, as no watermark moved."""
    here = world(small())
    day = datetime.fromisoformat(here.fake.truth()["action_logs"][7]["createdAt"]).astimezone(UTC)
    first = day.replace(hour=0, minute=0, second=0, microsecond=0)
    result = execute("omni_by_day", instance, partition_key=f"{first:%Y-%m-%d}")
    assert result.success
    held = [row for (row,) in here.sql("select id from action_logs order by id")]
    assert held == of_days(here.fake, first, first + timedelta(days=1)) != []
    assert instance.get_materialized_partitions(dg.AssetKey(["omni", "by_day"])) == {f"{first:%Y-%m-%d}"}
    assert execute("omni_sync", instance).success
    here.assert_exact()


def test_a_range_of_days_is_one_run(world: Begin, instance: dg.DagsterInstance) -> None:
    """A backfill over many days walks once: one window from the first day to the last."""
    here = world(small())
    end = here.fake.now.replace(hour=0, minute=0, second=0, microsecond=0)
    begin = end - timedelta(days=20)
    keys = {"start": begin, "end": end - timedelta(days=1)}
    tags = {f"dagster/asset_partition_range_{name}": f"{day:%Y-%m-%d}" for name, day in keys.items()}
    result = execute("omni_by_day", instance, tags=tags)
    assert result.success
    held = [row for (row,) in here.sql("select id from action_logs order by id")]
    assert held == of_days(here.fake, begin, end) != []
    assert here.sql("select count(*) from runs") == [(1,)]
    assert len(instance.get_materialized_partitions(dg.AssetKey(["omni", "by_day"]))) == 20


def test_shards_are_partitions(world: Begin, kept: dg.DagsterInstance, server: Server) -> None:
    """`omni_split` makes three of them, a tick asks for each, and together they hold exactly the vendor's rows; the
    tables are told as new, and their checks can be run."""
    url = server.database()
    here = world(small()).set(DESTINATION__POSTGRES__CREDENTIALS=url)
    config = {"resources": {"gapless": {"config": {"destination": "postgres"}}}}
    for into in (5, 3):
        split = {"ops": {"omni_split_into": {"config": {"into": into}}}}
        assert execute("omni_split", kept, run_config=split).success
    requests = tick("omni_by_shard_schedule", kept)
    assert sorted(request.partition_key for request in requests) == ["1/3", "2/3", "3/3"]
    for request in requests:
        assert execute("omni_by_shard", kept, partition_key=request.partition_key, run_config=config).success
    assert_in_postgres(here, url)
    assert kept.get_latest_materialization_event(dg.AssetKey(["omni", "action_logs__messages"]))
    checked = execute("omni_checks", kept, run_config=config).get_asset_check_evaluations()
    assert {check.check_name: check.passed for check in checked} == dict.fromkeys(CHECKS, True)


def test_shards_by_a_number(kept: dg.DagsterInstance) -> None:
    """They are partitions from the start, a tick asks for each, and no job changes their number."""
    made = definitions(["omni", "sequence"], shards=8)
    graph = made.resolve_asset_graph()
    keys = [f"{number}/8" for number in range(1, 9)]
    assert graph.get(dg.AssetKey(["omni", "by_shard"])).partitions_def.get_partition_keys() == keys
    repository = made.get_repository_def()
    assert "omni_split" not in {job.name for job in repository.get_all_jobs()}
    with dg.build_schedule_context(kept, datetime(2026, 3, 1, 12, tzinfo=UTC), repository_def=repository) as context:
        asked = repository.get_schedule_def("omni_by_shard_schedule").evaluate_tick(context).run_requests or []
    assert [request.partition_key for request in asked] == keys
    for wrong in (0, 1_001):
        with pytest.raises(WrongSettings, match="from 1 to 1,000"):
            definitions(["omni"], shards=wrong)


# -- schedules -------------------------------------------------------------------------------------


def tick(schedule: str, kept: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What a schedule asks for; nothing, with the reason for it, if it skips."""
    repository, now = defs.get_repository_def(), datetime(2026, 3, 1, 12, tzinfo=UTC)
    with dg.build_schedule_context(kept, now, repository_def=repository) as context:
        return list(repository.get_schedule_def(schedule).evaluate_tick(context).run_requests or [])


def test_a_tick_runs_the_job(world: Begin, kept: dg.DagsterInstance) -> None:
    """Its one run request is executed; while a run has not ended, the next tick asks for none."""
    here = world(small(SequenceFake))
    (request,) = tick("sequence_sync_schedule", kept)
    result = execute("sequence_sync", kept, tags=request.tags, run_config=request.run_config)
    assert result.success
    here.assert_exact()
    job = defs.resolve_job_def("sequence_sync")
    unfinished = kept.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick("sequence_sync_schedule", kept) == []
    kept.report_run_canceled(unfinished)
    assert len(tick("sequence_sync_schedule", kept)) == 1


def test_shards_that_nobody_made_are_not_asked_for(kept: dg.DagsterInstance) -> None:
    """The schedule of a source that is not split skips."""
    assert tick("omni_by_shard_schedule", kept) == []


# -- from the command line -------------------------------------------------------------------------


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`user(*arguments)` starts Dagster in an empty folder, its home set up as the guide says."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(guide("yaml", "dagster.yaml"))
    with dg.DagsterInstance.from_config(str(home)):  # two that make its files at once may both fail
        pass
    with ExitStack() as started:

        def start(*arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "dagster", *arguments],
                cwd=tmp_path,
                env={**os.environ, "DAGSTER_HOME": str(home), "NO_PROXY": "127.0.0.1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            started.callback(process.wait)
            started.callback(process.kill)
            return process

        yield start


def guide(language: str, file: str) -> str:
    """What the guide writes into a file."""
    (text,) = re.findall(rf"^```{language}\n(# {re.escape(file)}\n.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(text)


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_shards_on_the_multiprocess_executor(
    world: Begin, user: Callable[..., subprocess.Popen[str]], server: Server, tmp_path: Path
) -> None:
    """By the guide's file all partitions are materialized at once, each step in a process that the executor starts:
    the tables are exactly the vendor's, and the checks are true of all of them."""
    url = server.database()
    here = world(small()).set(DESTINATION__POSTGRES__CREDENTIALS=url)
    file = guide("python", "shards.py").replace("shards=8", "shards=2")
    (tmp_path / "shards.py").write_text(file)
    (tmp_path / "dagster" / "dagster.yaml").write_text(guide("yaml", "dagster.yaml, of the shards"))
    # What `Materialize all` of the page launches: one run for each partition.
    run = ("asset", "materialize", "-f", "shards.py", "--select", "key:omni/by_shard", "--partition")
    told = [ended(process) for process in [user(*run, f"{number}/2") for number in (1, 2)]]
    for output in told:
        assert "RUN_SUCCESS" in output
        assert "Launching subprocess for" in output
    assert_in_postgres(here, url)
    with closing(psycopg2.connect(url)) as connection:
        runs = Reader(connection).execute("select shard, outcome from omni.runs order by shard").fetchall()
    assert runs == [("1/2", "complete"), ("2/2", "complete")]
    looked = ended(user("job", "execute", "-f", "shards.py", "-j", "omni_checks"))
    assert {name: f"check '{name}' on 'omni/action_logs' passed" in looked for name in CHECKS} == dict.fromkeys(
        CHECKS, True
    )


def test_two_jobs_at_once_wait_for_each_other(world: Begin, user: Callable[..., subprocess.Popen[str]]) -> None:
    """By the guide's settings one step at a time writes to a DuckDB file: nobody finds it locked."""
    tines, omni = world(small(TinesFake)), world(small())
    asked, waits = threading.Event(), threading.Event()

    def hold(request: httpx.Request) -> httpx.Response:
        asked.set()
        assert waits.wait(60)
        return LET_THROUGH

    omni.intercept = hold
    first = user("job", "execute", "-m", "gapless.pipelines.integrations.dagster_assets", "-j", "omni_sync")
    assert asked.wait(60)
    second = user("job", "execute", "-m", "gapless.pipelines.integrations.dagster_assets", "-j", "tines_sync")
    told = next(line for line in second.stdout or () if "blocked by limit" in line or "STEP_UP_FOR_RETRY" in line)
    waits.set()
    assert "Step blocked by limit for pool gapless" in told
    assert all("RUN_SUCCESS" in ended(process) for process in (first, second))
    omni.assert_exact()
    tines.assert_exact()


@pytest.mark.parametrize(
    ("executor", "keys"),
    [
        ("k8s_job_executor", {"job_namespace", "job_image", "service_account_name", "env_secrets"}),
        ("celery_executor", {"broker", "backend"}),
    ],
)
def test_settings_of_other_executors(executor: str, keys: set[str]) -> None:
    """Those that docs.dagster.io has for dagster-k8s and dagster-celery; their packages are not installed here, and
    took this configuration when it was written (0.29.27)."""
    assert yaml.safe_load(guide("yaml", f"execution.config of {executor}")).keys() == keys


def test_the_definitions_of_the_guide_are_valid(user: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """A file of one's own for another destination and cadence, as the guide writes it."""
    (tmp_path / "definitions.py").write_text(guide("python", "definitions.py"))
    assert "Validation successful" in ended(user("definitions", "validate", "-f", "definitions.py"))
