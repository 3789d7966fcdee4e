"""Finds the gaps that the tables themselves show: what somebody took away, and rows that are lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from gapless.pipelines.destinations.reader import Reader
from gapless.pipelines.evidence.gap import Commands, Gap, Kind, chosen_ids
from gapless.pipelines.evidence.proofs import lacks_newest, read_proofs
from gapless.pipelines.evidence.rows.below import Below, find_below
from gapless.pipelines.evidence.rows.counts import Held, RowCounts, count_doubled, once_tables, read_missed
from gapless.pipelines.evidence.structure import Damage, damages
from gapless.sources import Source


class TableGaps:
    """Finds the gaps of one source in its tables."""

    def __init__(self, reader: Reader, source: Source, commands: Commands) -> None:
        self._reader, self._source, self._commands = reader, source, commands

    @cached_property
    def damages(self) -> list[Damage]:
        """Returns the tables and columns that are missing."""
        return damages(self._reader, self._source)

    def damaged(self) -> Iterator[Gap]:
        """Yields what somebody took away of tables; the next sync makes it again."""
        for damage in self.damages:
            yield self._gap("damaged", str(damage), self._commands.sync(), damage.table)

    @cached_property
    def _missed(self) -> tuple[Held | None, RowCounts, RowCounts]:
        return read_missed(self._reader, self._source)

    @cached_property
    def _below(self) -> Below:
        held, now, _ = self._missed
        # Of a table that is gone, or lacks a column, nothing can be asked.
        return Below() if self.damages else find_below(self._reader, self._source, held, now)

    def lost(self) -> Iterator[Gap]:
        """Yields tables with fewer rows than when the last sync ended, or than the records above them say."""
        gone = {damage.table for damage in self.damages}
        held, _, missed = self._missed
        if held is None and self._uncounted():
            why = "nothing says how many rows there were: what was deleted cannot be known without the vendor"
            fill = f"{self._commands.sync()} && {self._commands.repair}"
            yield self._gap("lost", why, fill, self._source.main.name)
        lost = {**self._below.without_known(missed), **self._below.lost}
        roots = lost.get(self._source.main.name, 0) > 0
        for table, rows in lost.items():
            # `damaged` reports a table that is gone itself.
            if table not in gone:
                yield self._gap("lost", f"{rows:,} rows are lost", self._fill(table, roots), table)

    def _uncounted(self) -> bool:
        """Returns whether records are proven and no run says how many there were.

        Without any run that is the end of a first sync that was killed, unless the newest record is gone.
        """
        name, main = self._source.name, self._source.main.name
        # A proof that was set back says itself that all is read again.
        proven = read_proofs(self._reader, name, main, "last_checked_at is not null")
        ran = self._reader.rows(name, "select 1 from {0} limit 1", "runs")
        newest = not ran and lacks_newest(self._reader, name, main, self._source.main.time_column)
        return bool(proven and (ran or newest)) and not self._reader.appends

    def _fill(self, table: str, roots: bool) -> str:
        """Returns the command that brings rows of a table back.

        verify sees lost child rows by what their records say, if these say it; parents are listed by every sync.
        """
        parents = self._source.stream.parents
        if roots or (table in self._below.lost and table.startswith(f"{self._source.main.name}__")):
            return self._commands.repair
        return self._commands.sync() if parents and table == parents.table.name else self._commands.reset

    def doubled(self) -> Iterator[Gap]:
        """Yields tables in which rows stand more than once, or with which no record was loaded."""
        twice = [*self.twice()]
        yield from twice
        for table, rows in ({} if self._reader.appends else self._below.more).items():
            if table not in {gap.stream for gap in twice}:
                why = f"{rows:,} rows are there that no record was loaded with"
                yield self._gap("doubled", why, self._commands.repair, table)

    def twice(self) -> Iterator[Gap]:
        """Yields tables in which rows stand more than once."""
        if self._reader.appends:
            return
        gone = {damage.table for damage in self.damages}
        whole = [table for table in once_tables(self._source) if table not in gone]
        for table, rows in count_doubled(self._reader, self._source, whole).items():
            yield self._gap("doubled", f"{rows:,} rows stand there twice", self._commands.repair, table)

    def _gap(self, kind: Kind, why: str, fill: str, stream: str) -> Gap:
        # A table's rows are those of all parents.
        typed = self._commands.typed(fill, unchosen=bool(chosen_ids(self._source)))
        return Gap(self._source.name, kind, stream, "", None, None, why, typed)
