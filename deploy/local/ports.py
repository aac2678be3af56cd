"""TCP ports of the local stack: free ones on loopback, remembered so that a second start has the same addresses."""

import json
import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"

# Below the kernel's ephemeral range, so that no outgoing connection takes a remembered port between two starts, and
# without the default port of any server we run.
_RANGE = range(21000, 25000)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(taken: Iterable[int] = ()) -> int:
    """Pick a free loopback port that is none of `taken`; raises OSError when the whole range is in use."""
    candidates = [port for port in _RANGE if port not in set(taken)]
    random.shuffle(candidates)
    for port in candidates:
        if is_free(port):
            return port
    raise OSError(f"No free port between {_RANGE.start} and {_RANGE.stop - 1}: stop what occupies them.")


def assign(file: Path, names: Iterable[str], fixed: Mapping[str, int]) -> dict[str, int]:
    """Give every name a port: the fixed one, else the one remembered in `file` while it is free, else a new one.

    Remembers what it gave.
    """
    remembered: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    ports = {name: port for name, port in remembered.items() if port not in fixed.values()} | dict(fixed)
    for name in names:
        if name not in ports or not is_free(ports[name]):
            ports[name] = free_port(ports.values())
    if ports != remembered:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(ports, indent=1))
    return ports


def accepts(port: int, timeout: float = 1.0) -> bool:
    """Tell whether something answers a connection on this loopback port within `timeout` seconds."""
    try:
        socket.create_connection((LOOPBACK, port), timeout).close()
    except OSError:
        return False
    return True
