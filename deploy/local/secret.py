"""Secrets of the local stack: made once, kept in files that only the caller can read."""

import os
import secrets
from pathlib import Path


def remembered_secret(file: Path) -> str:
    """Read the secret in `file`, or make one there (mode 0600, safe in URLs)."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as output:
            output.write(secrets.token_hex(32))
        fresh.rename(file)
    return file.read_text().strip()
