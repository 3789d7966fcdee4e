"""The TLS context that the environment asks for: certificates to trust, and a file for keys of connections."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from gapless.sources._http.environment.errors import NetworkSettingError

FILE, FOLDER, KEY_LOG = "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"
WITHOUT = "Without the variable, the certificates of this system are used."
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
"""The name under which OpenSSL looks for a certificate in a folder."""


def tls_context(make: Callable[[], ssl.SSLContext], environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """Returns the context that `make` makes, once for all clients, because making it takes longer than a request.

    Raises NetworkSettingError for a variable that names something that cannot be used.
    """
    return _made(make, *(environment.get(name) or "" for name in (FILE, FOLDER, KEY_LOG)))


@cache
def _made(make: Callable[[], ssl.SSLContext], file: str, folder: str, key_log: str) -> ssl.SSLContext:
    # httpx takes only the file, if there is one: then the folder need not be as OpenSSL wants it, but be there. With
    # a folder without a certificate it silently trusts no server.
    if folder and (problem := _folder_problem(folder, _unreadable if file else _one_folder_problem)):
        raise NetworkSettingError(FOLDER, f"{problem}; expected a folder that `openssl rehash` was run on. {WITHOUT}")
    try:
        return make()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        if file and (problem := _file_problem(file)):
            raise NetworkSettingError(FILE, f"{problem}; expected a PEM file of certificates. {WITHOUT}") from None
        if key_log and (problem := _key_log_problem(key_log)):
            expected = "expected a file that can be written. Correct it, or unset it"
            raise NetworkSettingError(KEY_LOG, f"{problem}; {expected}.") from None
        names = [name for name, value in ((FILE, file), (FOLDER, folder), (KEY_LOG, key_log)) if value]
        raise NetworkSettingError(" or ".join(names) or "TLS", f"it cannot be used: {error}") from None


def _file_problem(file: str) -> str | None:
    if os.path.isdir(file):
        return f"{file} is a folder, which {FOLDER} may name"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return f"{file} {'holds no certificate that can be read' if os.path.getsize(file) else 'is empty'}"
    except (OSError, ValueError) as error:
        return _cannot("read", file, error)
    return None


def _folder_problem(folder: str, look: Callable[[str], str | None]) -> str | None:
    # More than one may be named; those that are not there do no harm beside one that is.
    problems = [*map(look, folder.split(os.pathsep))]
    return problems[0] if all(problems) else None


def _unreadable(folder: str) -> str | None:
    try:
        os.listdir(folder)
    except (OSError, ValueError) as error:
        return _cannot("read", folder, error)
    return None


def _one_folder_problem(folder: str) -> str | None:
    if problem := _unreadable(folder):
        return problem
    hashed = any(map(HASHED.fullmatch, os.listdir(folder)))
    return None if hashed else f"{folder} holds no certificate under the name of its hash"


def _key_log_problem(file: str) -> str | None:
    try:
        with Path(file).open("a"):
            return None
    except (OSError, ValueError) as error:
        return _cannot("write", file, error)


def _cannot(do: str, path: str, error: Exception) -> str:
    return f"cannot {do} {path}: {error.strerror if isinstance(error, OSError) else error}"
