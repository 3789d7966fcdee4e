"""Files of a DuckLake's tables that the catalog names and nobody finds any more.

DuckDB counts their rows all the same, as the catalog has the numbers, and fails as soon as a cell is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gapless.pipelines.destinations._catalogs.obstacle import Asked, Dataset, Obstacle
from gapless.pipelines.printable import counted

WITH_FILES = """
    select distinct table_name from ducklake_table_info(current_database()) where file_count > 0
    and table_name in ({1}) and table_name in (
        select table_name from duckdb_tables() where schema_name = '{0}' and database_name = current_database()
    )
"""
"""Tables that have files; small ones stand in the catalog itself."""
FILES = "select data_file, delete_file from ducklake_list_files(current_database(), '{2}', schema => '{0}')"


def lost_files(reader: Asked, dataset: Dataset) -> Iterator[Obstacle]:
    """Yields the tables of which files are lost, of a lake whose files are on this machine."""
    for (table,) in dataset.ask(reader, WITH_FILES):
        found = reader.rows(dataset.name, FILES.format(dataset.name, "", table)) or []
        files = [Path(str(file)) for row in found for file in row if file and "://" not in str(file)]
        lost = [file for file in files if not file.exists()]
        if lost:
            full = dataset.named(str(table))
            what = f"lacks {len(lost):,} of its {counted(len(files), 'files')}, the first {lost[0]}"
            # Dropped is only what nobody can bring back: a folder that is not mounted lacks every file, too.
            remedy = f"bring them back from a backup; if they are lost for good: drop table {full};"
            yield Obstacle(f"the table {full}", what, remedy, str(table), is_unreadable=True)
