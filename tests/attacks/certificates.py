"""Certificates for servers that are what they say, and for strangers; OpenSSL's program makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(folder: Path, name: str, host: str) -> Path:
    """Returns a new file with a key and a certificate for a host, signed by nobody else."""
    file, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run([*command, *names, "-keyout", str(key), "-out", str(file)], check=True, capture_output=True)
    file.write_text(key.read_text() + file.read_text())
    key.unlink()
    return file
