"""Memory shared by a service and one decoder child: unnamed files in RAM.

The service never maps them but reads and writes at offsets, because a mapping whose file the child cuts short kills
the process that touches it. The kernel copies without the interpreter's lock, so the event loop keeps running.
"""

import os
from collections.abc import Sequence

KEPT_BYTES = 16 * 2**20
_MOST_BUFFERS = 1024


def create(name: str) -> int:
    """The descriptor of a new arena of KEPT_BYTES, which take no memory before they are written.

    `name` shows under /proc only.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(fd, KEPT_BYTES)
    return fd


def read_only(fd: int) -> int:
    """A second descriptor of the same arena through which nothing can be written."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def write(fd: int, parts: Sequence[bytes | bytearray | memoryview], offset: int = 0) -> int:
    """Writes the parts one behind the other from `offset`; the arena grows by itself. Returns the end."""
    for start in range(0, len(parts), _MOST_BUFFERS):
        group: list[bytes | bytearray | memoryview] = list(parts[start : start + _MOST_BUFFERS])
        while group:
            count = os.pwritev(fd, group, offset)
            offset += count
            while group and count >= len(group[0]):
                count -= len(group.pop(0))
            if group:
                group[0] = memoryview(group[0])[count:]
    return offset


def read(fd: int, lengths: Sequence[int]) -> list[bytes]:
    """Parts of these lengths in bytes, one behind the other from 0. Raises EOFError if the arena is shorter."""
    parts = []
    offset = 0
    for length in lengths:
        part = os.pread(fd, length, offset)
        if len(part) != length:
            raise EOFError
        parts.append(part)
        offset += length
    return parts


def trim(fd: int) -> None:
    """Gives an unusually large arena's memory back."""
    if os.fstat(fd).st_size > KEPT_BYTES:
        os.ftruncate(fd, KEPT_BYTES)
