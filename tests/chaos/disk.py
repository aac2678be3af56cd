"""The disks of MongoDB and RabbitMQ in a chaos run: small ones, in memory, that a ballast file fills.

They are mounted in a namespace of the stack's own, so they end with it, whatever becomes of the run. That takes root.
"""

import errno
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20
# By server: the folder below the stack's, and the size. RabbitMQ raises its alarm below 1 GB.
DISKS: Mapping[str, tuple[str, int]] = {
    "mongod": ("mongod/data", 4096 * MIB),
    "rabbitmq": ("rabbitmq/mnesia", 3072 * MIB),
}
ALARM_BYTES = 700 * MIB
# What the gateways keep free, smaller than by default, as the disk is.
RESERVE_BYTES = 256 * MIB


def can_mount() -> bool:
    """Whether this process may make mounts of its own."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def with_disks(folder: Path, command: Sequence[str]) -> list[str]:
    """The command, in a namespace where each server's data folder is a disk of its own."""
    mounts = []
    for below, size in DISKS.values():
        (folder / below).mkdir(parents=True)
        mounts.append(f"mount -t tmpfs -o size={size},mode=700 tmpfs '{folder / below}'")
    script = "; ".join([*mounts, 'exec "$@"'])
    return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh", *command]


class Disk:
    """One of them, seen through the process that has it mounted."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._folder = Path(f"/proc/{pid}/root{folder}")

    def free(self) -> int:
        """Bytes that fit on it."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    @contextmanager
    def filled(self, leave: int = 0) -> Iterator["Ballast"]:
        """Fills it but for `leave` bytes, for as long as the context lasts."""
        file = self._folder / "ballast"
        try:
            with file.open("wb") as opened:
                ballast = Ballast(self, opened.fileno(), leave)
                ballast.grow()
                yield ballast
        finally:
            file.unlink(missing_ok=True)


class Ballast:
    """The file that takes the room."""

    def __init__(self, disk: Disk, descriptor: int, leave: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._leave = leave

    def grow(self) -> None:
        """Takes what has become free."""
        more = self._disk.free() - self._leave
        if more <= 0:
            return
        try:
            os.posix_fallocate(self._descriptor, os.fstat(self._descriptor).st_size, more)
        except OSError as error:
            # Somebody else was faster to take it.
            if error.errno != errno.ENOSPC:
                raise
