"""Who gives the command."""

import getpass
import socket


def operator() -> str:
    """User and host, for the audit."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
