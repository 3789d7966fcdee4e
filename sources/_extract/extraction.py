"""What the resources of one source share while dlt extracts it: session, ledger, and the names of their tables.

All that can be refused is refused here, before the first request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dlt

from gapless.sources._dlt.append_only import appends
from gapless.sources._dlt.internals import accept_json_as_text, joins_scheduler, load_package, name_root_resources
from gapless.sources._dlt.stored import Schema, schemas, states
from gapless.sources._dlt.types import State
from gapless.sources._extract.checks import DUCKDB, check_dataset, check_settings, disposition_of
from gapless.sources._extract.hints import SOURCE_HINT, declare
from gapless.sources._extract.write_strategy import WriteStrategy
from gapless.sources._incremental.context import SyncContext
from gapless.sources._ledger.account.identity import ACCOUNTS, KEYS, AccountCheck, forget
from gapless.sources._ledger.erasure.tombstones import Tombstones
from gapless.sources._ledger.ledger import COVERAGE, DEAD_LETTERS, RUNS, Run
from gapless.sources._ledger.session import Session
from gapless.sources._ledger.stored.reader import EmptyLedger, Ledger
from gapless.sources._schema.arrow import Table
from gapless.sources._schema.destination_limits import RECORD_MB, bounded, storage_check
from gapless.sources._schema.policy_history import forget_policies, note_policy
from gapless.sources._schema.privacy import Privacy

LOG = logging.getLogger("gapless")
LEDGER = (COVERAGE, DEAD_LETTERS, RUNS)
STATE_TABLE = "table"
"""Key of a resource's state: the table that the state belongs to, if a user named it."""


@dataclass
class Extraction:
    """One extraction of one source by dlt, or a preview without a load package."""

    load_id: str | None
    """None: a preview, which loads nothing and keeps no state."""
    session: Session
    ledger: Ledger
    prefix: str = ""
    """Begins the names of the tables, where another source has tables of the same names."""
    strategy: WriteStrategy = field(default_factory=lambda: WriteStrategy(None, EmptyLedger()))
    replaces: bool = False
    """Whether the records' table is replaced, and with it the ledger."""
    fresh: bool = False
    """Whether nothing counts that is in the dataset: it is replaced, dropped or truncated by this load."""
    context: SyncContext | None = None
    """What the resources read together; made by the first of them."""
    readers: int = 0
    """Resources that are being read."""
    file_format: str | None = None
    """The format of the files that are loaded, of all tables; None: dlt chooses it, or the user."""
    own_session: bool = True
    """Whether no other code reads the session."""

    def table(self, table: Table, resource_table: str | None = None) -> Table:
        """Returns a table under the name that it has in this dataset; a name that the user gave stays."""
        given = resource_table if resource_table not in (None, table.name) else None
        return replace(table, name=given or self.prefix + table.name)

    def state_of(self, plain: Table, named: Table, state: State) -> State:
        """Returns a resource's stored state as it holds for the table `named`; `plain` is the resource's own."""
        speaks_of = state.get(STATE_TABLE, self.table(plain).name)
        return {} if self.fresh or speaks_of != named.name else dict(state)

    def disposition(self, table: Table) -> Any:
        """Returns dlt's write disposition for a table of ours; the records' own may be set by the user, too."""
        if self.replaces and table.model is not Run:
            return "replace"
        return self.strategy.disposition(table)

    def report(self) -> None:
        """Logs what could not be read, unless a command of ours prints it: few people look into `dead_letters`."""
        if self.own_session:
            for failure in self.session.failures:
                LOG.warning("%s", failure)
            self.session.failures.clear()


class Extractions:
    """Begins an extraction when the first resource of a source does; the others join it."""

    def __init__(
        self,
        source: str,
        main: str,
        tables: Sequence[Table],
        session: Session | None,
        account: AccountCheck | None = None,
        policy: Privacy | None = None,
        max_record_mb: float = RECORD_MB,
    ) -> None:
        self.source, self.main, self._tables, self._given = source, main, tables, session
        self._account, self._policy, self._max_record_mb = account, policy, max_record_mb
        self._current: Extraction | None = None
        self.erased: Callable[[Ledger], Tombstones] | None = None
        """Reads what was erased on purpose; None: nothing of a vendor's is read."""
        self.own = session is None
        """Whether no command of ours runs this, so that a user may have set anything."""

    def begin(self, loaded: bool = True) -> Extraction:
        """Returns the extraction that is going on. Raises ValueError for what cannot be loaded rightly.

        Without `loaded` it is a preview: nothing is kept of what is read.
        """
        if not loaded:
            return Extraction(None, own_session(), EmptyLedger())
        package = load_package()
        load_id, current = package["load_id"], self._current
        # One source object may be run several times, each time into a package of its own.
        if current is None or current.load_id != load_id:
            # A sync over several packages goes on with what it has listed; one that failed lists anew.
            goes_on = current is not None and self._given is not None and self._given.goes_on
            begun = self._begun(load_id, package)
            if self.own and self.erased:
                # Of the dataset as it is, also where nothing of it counts: what was erased stays so.
                begun.session.erased = self.erased(Ledger(begun.session.shard, begun.prefix))
            if goes_on and current:
                begun.context = current.context
            self._current = current = begun
        current.session.begin_package(load_id)
        return current

    def _begun(self, load_id: str, package: Any) -> Extraction:
        pipeline, session = dlt.current.pipeline(), self._given or own_session()
        if pipeline.destination is None:
            raise ValueError(f"{self.source}: the pipeline has no destination; dlt.pipeline(destination=…) names it")
        kind = pipeline.destination.destination_type
        capabilities = pipeline.destination.capabilities()
        if appends(capabilities) and not kind.endswith(".filesystem"):
            raise ValueError(
                f"{self.source}: {kind} can neither merge rows (delete-insert) nor be read as files, so a record that"
                " is read again would be there twice; choose a destination that can, such as duckdb or postgres"
            )
        if self.own:
            check_settings(self.source)
            check_dataset(pipeline)
        session.refuse = bounded(storage_check(kind), self._max_record_mb)
        state = dlt.current.source_state()
        # Two queries, so only before the first load; a dataset of its own holds no other source.
        first = self.own and ACCOUNTS not in state and pipeline.config.use_single_dataset
        others = _Others(pipeline, self.source) if first else None
        prefix, replaces = self._prefix(pipeline, others.schemas if others else {}), _is_replaced(self.main)
        states = (package["state"].get(key, ()) for key in ("dropped_tables", "truncated_tables"))
        # What dlt's `refresh` drops or truncates with this load; what the ledger proves would go with it.
        gone = {table["name"] for tables in states for table in tables}
        fresh = replaces or bool(gone & {prefix + self.main, prefix + COVERAGE.name})
        ledger = EmptyLedger() if fresh else Ledger(session.shard, prefix)
        strategy = WriteStrategy(capabilities, ledger)
        if fresh:
            # No row of the earlier account or policy will be left.
            forget(state, [self.source])
            forget_policies(state)
        elif others:
            others.restore(state)
        if self._account:
            self._check_account(self._account, state, None if fresh else ledger)
        if self._policy is not None:  # packages of the ledger alone have no policy
            note_policy(state, self._policy, load_id)
        name_root_resources()
        accept_json_as_text()
        # A command of ours says it itself. DuckDB cannot load a table without rows from JSON lines.
        word = kind.rpartition(".")[2]
        formats = {**dict.fromkeys(DUCKDB, "parquet"), "postgres": "insert_values"}  # CSV takes '' for null
        file_format = formats.get(word) if self.own else None
        return Extraction(
            load_id,
            session,
            ledger,
            prefix,
            strategy,
            replaces,
            fresh,
            file_format=file_format,
            own_session=self.own,
        )

    def _check_account(self, check: AccountCheck, state: State, ledger: Ledger | None) -> None:
        """Remembers the account; of a run that no command of ours began it is checked first, if rows count at all."""
        if ledger and not check.checked:
            remedy = 'a run of the same pipeline with refresh="drop_sources" lets it be read again'
            if note := check.require(state, ledger, remedy):
                LOG.info("%s", note)
        check.remember(state)

    def declare(self, extraction: Extraction, main: Table, resource: str, derived: Sequence[Table] = ()) -> None:
        """Adds the tables of a resource to the schema, and the ledger's, which are the records' resource's."""
        schema = dlt.current.source_schema()
        how: dict[str, Any] = {"disposition": extraction.strategy.word, "file_format": extraction.file_format}
        declare(schema, main, resource, self.source, **how)
        for table in (*derived, *LEDGER):
            declare(schema, extraction.table(table), self.main, self.source, **how)

    def _prefix(self, pipeline: dlt.Pipeline, stored: Mapping[str, Schema]) -> str:
        """Returns what begins the names of the tables: nothing, unless another source has tables of these names.

        What a source has once stays: its stored schema says which it is. `stored` are those of the dataset, which
        other pipelines may have loaded.
        """
        prefix, plain = f"{self.source}_", {table.name for table in (*self._tables, *LEDGER)}
        own, others = set[str](), set[str]()
        found = {name: list(schema["tables"].values()) for name, schema in stored.items()}
        if pipeline.config.use_single_dataset:
            # Of this run, too: sources that were extracted before this one are not stored yet.
            found |= {name: pipeline.schemas[name].data_tables() for name in pipeline.schemas}
        for name, tables in found.items():
            names = {str(table["name"]) for table in tables}
            for table in tables:
                owner = table.get(SOURCE_HINT, name)
                # Plain names are declared in any case, and used only if there are no others.
                if f"{owner}_{COVERAGE.name}" not in names or str(table["name"]).startswith(f"{owner}_"):
                    (own if owner == self.source else others).add(str(table["name"]))
        if prefix + COVERAGE.name in own:
            return prefix
        return prefix if others & plain and not own & plain else ""


class _Others:
    """What all pipelines have stored of a dataset, for a pipeline that has not loaded this source into it yet."""

    def __init__(self, pipeline: dlt.Pipeline, source: str) -> None:
        self._source = source
        with pipeline.sql_client() as client:
            self.schemas = schemas(client)
            known = [one for state in states(client) for one in state.get("sources", {}).values()]
        self._states = [one for one in known if source in one.get(ACCOUNTS, {})]

    def restore(self, state: State) -> None:
        """Writes to a state whose rows of the source are there, if any are."""
        for key in (ACCOUNTS, KEYS):
            for one in self._states[:1]:
                if found := one.get(key, {}).get(self._source):
                    state.setdefault(key, {})[self._source] = found


def own_session() -> Session:
    """Returns the session of a run that no command of ours began: a scheduler counts if dlt's settings say so."""
    return Session(obeys_scheduler=joins_scheduler())


def _is_replaced(resource: str) -> bool:
    found = dlt.current.source().resources.selected.get(resource)
    return found is not None and disposition_of(found) == "replace"
