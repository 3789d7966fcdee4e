"""Says what a database refused without a value of a record: its errors quote the rows that they are about.

No import of another room may enter, nor of a database's library: most are not installed.
"""

from __future__ import annotations

import re

LIBRARIES = (
    "psycopg2", "duckdb", "_duckdb", "sqlite3", "sqlalchemy", "pyarrow", "dlt.destinations", "dlt.load", "google",
    "snowflake", "databricks", "clickhouse_connect", "clickhouse_driver", "redshift_connector",
)  # fmt: skip
"""The modules of classes of errors whose texts may hold values."""
LONGEST = 300
"""Characters of an error's text that are shown."""
TOO_SHORT = 3
"""Characters of an error's line that is not looked for in the text of another one: it would be met anywhere."""
NAMES_ONLY = ("23", "25", "28", "2B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58")
"""Classes of Postgres' SQLSTATE whose first line quotes names of tables, columns and constraints, and no value."""
SYNTAX, RAISED = "42601", "P0001"
"""SQLSTATEs of a text that is no SQL, which is quoted, and of an exception that a function raises."""
CLOSED = "42501"
"""SQLSTATE of what this role may not do."""
AGAIN = "what was committed stays: sync again"
OVER = "the limit {0} ended it, as the address or a pooler sets it: take it out there, or: alter role … set {0} = 0;"
IN_WORDS = {
    "25006": f"the database takes no writes just now (a standby, or default_transaction_read_only); {AGAIN}",
    "25P03": OVER.format("idle_in_transaction_session_timeout"),
    "25P04": OVER.format("transaction_timeout"),
    "3D000": "the database is not there any more: its owner makes it again, and the next sync fills it",
    "53100": f"the disk of the database server is full: once its owner has made room, {AGAIN}",
    "53200": f"the database server is out of memory; {AGAIN}",
    "53300": f"the database server has no connection left (max_connections, or a limit of the role); {AGAIN}",
    "55P03": "the limit lock_timeout ended it, as somebody else has a table locked: gapless doctor names who holds a"
    " table; to wait for ever: options=-clock_timeout=0 in the address, or alter role … set lock_timeout = 0;",
    "57014": f"somebody cancelled it (pg_cancel_backend), or {OVER.format('statement_timeout')}",
    "57P01": f"somebody ended this session, or the server was stopped; {AGAIN}",
    "57P02": f"the database server crashed; {AGAIN}",
    "57P03": f"the database server is starting or stopping; {AGAIN}",
    "57P04": "the database was dropped meanwhile: its owner makes it again, and the next sync fills it",
    "57P05": OVER.format("idle_session_timeout"),
}
"""What a Postgres server says of its own state by SQLSTATE, in plain words:
https://www.postgresql.org/docs/current/errcodes-appendix.html"""
LOST = re.compile(
    "server closed the connection|(?:connection|cursor) already closed|connection has been closed|no connection to"
    "|could not (?:receive|send)|SYSCALL error|lost synchronization|terminating connection|insufficient data in"
    "|error with status PGRES|server conn crashed|connection (?:was )?(?:reset|lost|refused|timed out)",
    re.IGNORECASE,
)
"""What the driver says of a connection that is gone, and DuckDB of that to a lake's catalog: there is no code."""
LOST_CODE = "08"
"""The class of SQLSTATE of a connection that failed, as poolers say it."""
SAID_LOST = (
    "the connection to the database was lost, by the network, a restart, a pooler or a limit for sessions"
    f" (idle_in_transaction_session_timeout); {AGAIN}"
)
OF_A_CATALOG = re.compile("postgres|FATAL:|libpq", re.IGNORECASE)
"""What DuckDB's text of an error has when it is Postgres that failed."""
FULL = re.compile("too many (?:connections|clients)|remaining connection slots")
"""What a server says of a connection that is one too many; the driver gives no code for it."""
DAMAGED = re.compile("Corrupt database file|Could not read enough bytes")
"""What DuckDB says of a file whose blocks are not as they were written."""
REPLACE = "put a backup in its place, or move it away, and the next sync reads everything again"
HIDES = re.compile(r'row-level security policy for table "(.+)"')
DUCKDB_NAMES_ONLY = (
    "BinderException", "CatalogException", "ConnectionException", "DependencyException", "IOException",
    "OutOfMemoryException", "PermissionException",
)  # fmt: skip
"""DuckDB's classes whose first line quotes names and paths, unless it quotes a statement."""
STATEMENT = re.compile(r"\b(insert|update|values|select|copy|delete)\b", re.IGNORECASE)
MARKS = "\"'`\u00b4\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"
QUOTED = re.compile(rf"[{MARKS}](?:.*[{MARKS}]|.*)")
"""From the first quotation mark to the last, as a value may have some itself."""
GOES_ON = re.compile(rf"[{MARKS}].*")
"""The same where further lines follow: the value may end in one of those."""
NUMBER = re.compile(r"[-+]?\d[\d.,:eE+-]{3,}")
"""Of four characters or more; DuckDB does not quote a number that does not fit."""
DETAILS = re.compile(
    r"Key \(.*?\)=\(.*\)|(?<=Failing row contains ).*|(?<=Duplicate key ).*|(?<=DETAIL:).*|(?<=CONTEXT:).*"
    r"|(?<=LINE \d:).*|(?<=\[SQL: ).*|(?<=\[parameters: ).*"
)
"""What follows in the further lines of an error, wherever such a text turns up."""
FUNCTION = re.compile(r"^PL/pgSQL function ([\w.]+)\(")


def is_of_a_database(error: BaseException) -> bool:
    """Returns whether the error's text may quote what was written to a database."""
    modules = {kind.__module__ for kind in type(error).__mro__}
    # Python's own say which text is no number, or no UTF-8.
    return (isinstance(error, ValueError) and type(error).__module__ == "builtins") or any(
        module == library or module.startswith(f"{library}.") for module in modules for library in LIBRARIES
    )


def described(error: BaseException, text: str = "") -> str:
    """Returns the class of a database's error and the first line of its text, or of `text`, without values."""
    first, *more = (text or str(error)).strip().splitlines() or [""]
    quoted = GOES_ON if more else QUOTED
    return f"{type(error).__name__}: {_without_values(error, first, quoted)[:LONGEST]}"


def hidden_rows(error: BaseException) -> str | None:
    """Returns what a database says of rows that it hides from this role, in plain words; None: it hides none."""
    # Our sessions have `row_security` off: else hidden rows would look like lost ones.
    found = HIDES.search(str(error)) if getattr(error, "pgcode", None) == CLOSED else None
    hides = "hides rows from this role by row level security, so nothing can be known of them"
    return f"the table {found[1]} {hides}" if found else None


def in_words(error: BaseException) -> str | None:
    """Returns what a database says of its own state, in plain words with the next step; None: another thing."""
    module, text = type(error).__module__.split(".")[0], str(error)
    if module == "psycopg2":
        return _state_of_postgres(error, text)
    if module in ("duckdb", "_duckdb") and DAMAGED.search(text):
        return f"the DuckDB file is damaged or cut off: {REPLACE}"
    is_lost = module in ("duckdb", "_duckdb") and OF_A_CATALOG.search(text) and LOST.search(text)
    return SAID_LOST if is_lost else None


def _state_of_postgres(error: BaseException, text: str) -> str | None:
    if code := getattr(error, "pgcode", None):
        return SAID_LOST if code.startswith(LOST_CODE) else IN_WORDS.get(code)
    if FULL.search(text):
        return IN_WORDS["53300"]
    if text.startswith("connection to server"):
        return f"the database could not be reached again: {text.splitlines()[0]}; {AGAIN}"
    return SAID_LOST if LOST.search(text) else None


def without_details(text: str) -> str:
    """Returns a text, maybe of many lines, without the values that a database's error has in its further lines."""
    return DETAILS.sub("…", text)


def _without_values(error: BaseException, text: str, quoted: re.Pattern[str]) -> str:
    module = type(error).__module__.split(".")[0]
    if module == "psycopg2":
        return _of_postgres(error, text, quoted)
    if module in ("duckdb", "_duckdb") and type(error).__name__ in DUCKDB_NAMES_ONLY and not STATEMENT.search(text):
        return text
    return NUMBER.sub("…", quoted.sub("…", text))


def _of_postgres(error: BaseException, text: str, quoted: re.Pattern[str]) -> str:
    code = getattr(error, "pgcode", None)
    if code is None:  # of the connection: hosts and names
        return text
    if code == RAISED:  # a text of whoever wrote the function, who may have put anything into it
        context = getattr(getattr(error, "diag", None), "context", None) or ""
        where = FUNCTION.match(context)
        return f"the function {where[1]} of this database refused it" if where else "a function there refused it"
    if code != SYNTAX and code.startswith(NAMES_ONLY):
        return text
    return quoted.sub("…", text)
