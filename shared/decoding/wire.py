"""What a service and its decoder children say to each other: length-prefixed pickles over a Unix socket.

The service trusts nothing that a child sends: a child that was taken over by a hostile slide may name any class in
its pickle, so on the service's side only plain data and our own value classes can be built.
"""

import io
import pickle
import socket
import struct
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from importlib import import_module
from typing import Any, NamedTuple

from pydantic import BaseModel

# What a fork server tells its service of a child: a process id, then an exit status.
NUMBER = struct.Struct("<q")
LOADED = b"loaded"

_HEADER = struct.Struct("<Q")
_DESCRIPTOR = b"d"
_PLAIN = {
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "pathlib": {"PosixPath", "PurePosixPath"},
}


class Call(NamedTuple):
    """Run `function(*args)`. `inputs` are the lengths in bytes of the inputs in the arena, None if it takes none.

    `source` says whether it reads a source; `source_length` is that source's length in bytes, None if unknown. `feed`
    says that the descriptor of a feed comes behind this message.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    streams: bool
    inputs: tuple[int, ...] | None
    source: bool
    source_length: int | None
    feed: bool


class Read(NamedTuple):
    """The child wants `length` bytes of its source from `offset`."""

    offset: int
    length: int


class Answer(NamedTuple):
    """What the source holds there: fewer bytes only at its end."""

    data: bytes


class Batch(NamedTuple):
    """Results lie in half `half` of the output arena: key and length in bytes of each, one behind the other."""

    half: int
    items: list[tuple[Any, int]]


class Copied(NamedTuple):
    """The service has copied the oldest batch out: its half is free again."""


class Done(NamedTuple):
    """The function returned `value`; a stream is over."""

    value: Any


class Refused(NamedTuple):
    """The function raised `Reject`."""

    reason: str
    remedy: str
    heard: str


class Broken(NamedTuple):
    """The function raised anything else."""

    traceback: str


class OutOfMemory(NamedTuple):
    """The function met the child's memory limit."""


class DiskFull(NamedTuple):
    """The function found no room for a file that it writes."""


def send(sock: socket.socket, message: object) -> None:
    """Sends one message. Raises whatever pickle raises before anything is sent, and OSError when nobody listens."""
    data = pickle.dumps(message, protocol=5)
    if len(data) < 65536:
        sock.sendall(_HEADER.pack(len(data)) + data)
    else:
        sock.sendall(_HEADER.pack(len(data)))
        sock.sendall(data)


def receive(sock: socket.socket, most: int) -> bytearray:
    """The next message's pickle. Raises EOFError when the other side has gone, or says more than `most` bytes."""
    (length,) = _HEADER.unpack(_receive_exactly(sock, _HEADER.size))
    if length > most:
        raise EOFError
    return _receive_exactly(sock, length)


def send_descriptor(sock: socket.socket, fd: int) -> None:
    """Sends an open file."""
    socket.send_fds(sock, [_DESCRIPTOR], [fd])


def receive_descriptor(sock: socket.socket) -> int:
    """The file that was sent. Raises EOFError when the other side has gone."""
    _, fds, _, _ = socket.recv_fds(sock, len(_DESCRIPTOR), 1)
    if len(fds) != 1:
        raise EOFError
    return fds[0]


def _receive_exactly(sock: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, data: bytearray, packages: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        """Only value classes, and only where they are defined: what a module merely imports is out of reach."""
        if name in _PLAIN.get(module, ()):
            return getattr(import_module(module), name)
        if module.partition(".")[0] in self._packages and "." not in name:
            found = getattr(import_module(module), name)
            if isinstance(found, type) and found.__module__ == module and _holds_values(found):
                return found
        raise pickle.UnpicklingError(f"a {module}.{name}, which is no plain value")


def _holds_values(found: type) -> bool:
    return issubclass(found, (tuple, BaseModel, Enum)) or is_dataclass(found)


def loads_plain(data: bytearray, packages: frozenset[str]) -> Any:
    """Builds plain data, and tuples, enums, dataclasses and models defined in `packages` (top-level names).

    Raises pickle.UnpicklingError, which says what it was, for anything else.
    """
    try:
        return _PlainUnpickler(data, packages).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:
        raise pickle.UnpicklingError(f"something that can't be read ({error})") from error
