"""Recognises, in whatever library's words, that this process may have no more memory or no further thread.

No import of another room may enter, nor of a library.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

THREADS = (
    "no further thread could be started, as this process is at its limit of threads or of memory. Raise it"
    " (ulimit -u and -v; of a container: pids and memory), or lower <VENDOR>_WORKERS and LOAD__WORKERS"
)
MEMORY = (
    "there was no memory left, as this process is at its limit. Raise it (ulimit -v; of a container: memory), or"
    " lower <VENDOR>_WORKERS and GAPLESS_MAX_RECORD_MB"
)
NO_THREAD = ("can't start new thread", "resource temporarily unavailable")
"""In lower case, as Python and the C++ library say it."""
NO_MEMORY = (
    "bad allocation", "bad_alloc", "failed to allocate", "allocation failure", "could not allocate", "out of memory",
    "failed to map segment", os.strerror(errno.ENOMEM).lower(),
)  # fmt: skip
"""In lower case, as DuckDB, Arrow, the loader of libraries and the system say it."""
SAYERS = ("RuntimeError", "ImportError", "OSError", "BlockingIOError")
"""Classes of Python's whose texts are the system's."""


def shortage(causes: Iterable[BaseException]) -> str | None:
    """Returns what an error came of if that is a want of memory or threads, with what ends it; else None."""
    for cause in causes:
        if isinstance(cause, MemoryError):  # Arrow's is one, too
            return MEMORY
        library = type(cause).__module__.split(".")[0] in ("duckdb", "_duckdb", "pyarrow")
        if library or type(cause).__name__ in SAYERS:
            said = str(cause).lower()
            if any(words in said for words in NO_THREAD):
                return THREADS
            if any(words in said for words in NO_MEMORY):
                return MEMORY
    return None
