"""Whole copies of stored files in a folder that the processes of one host share.

Each copy has a folder of its own with `lock` and, once it is whole, `data` (and hard links of it with the suffixes
that readers ask for), which is a folder where the copy is one. A shared lock is held while a copy is open, an exclusive
one while it is made or evicted.
"""

import asyncio
import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from io import FileIO
from pathlib import Path

from shared.blobs.making import PATIENCE_SECONDS, Makings
from shared.errors import Reject, RetryLater

_LOOK_SECONDS = 0.05


def _lock(folder: Path, how: int) -> int | None:
    """A descriptor that holds the folder's lock; None while others hold it. Makes the folder."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            # Evicted between the two lines above.
            continue
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            # An evicted folder takes its lock along: then this is no longer the lock that others see.
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _size(path: Path) -> int | None:
    """Bytes of a file, or of all files in a folder; None if it is not there.

    A machine that lost its power may have kept a name without what it stands for.
    """
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else None


def _write_whole(file: FileIO, piece: bytes) -> None:
    """A disk takes what it has room for, and only says that it is full when it is asked once more."""
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


class Scratch:
    """About `limit` bytes of copies under `folder`; the least recently used ones go first, never an open one.

    A copy that is being made goes on without whoever waited for it for `patience` seconds and was told `Postponed`.
    """

    def __init__(self, folder: Path, limit: int, patience: float = PATIENCE_SECONDS) -> None:
        self._folder = folder
        self._limit = limit
        self._makings = Makings(patience=patience)

    @asynccontextmanager
    async def copy(
        self, name: str, suffix: str, length: int, download: Callable[[], AsyncIterator[bytes]]
    ) -> AsyncIterator[Path]:
        """The path of a copy of `length` bytes, downloaded unless it is here, for as long as the context is open.

        Raises `Reject` if the download has another length, `RetryLater` if the disk has no room for it, `Postponed` if
        it takes long.
        """
        folder = self._folder / name
        data = folder / "data"
        with self._room():
            while True:
                # While it is made, by whomever, it is locked.
                held = _lock(folder, fcntl.LOCK_SH)
                if held is not None:
                    if _size(data) == length:
                        break
                    os.close(held)
                await self._makings.made(folder.name, partial(self._make, folder, length, download))
        try:
            # Not the file system's own clock, whose steps are coarse.
            now = time.time_ns()
            os.utime(data, ns=(now, now))
            yield self._with_suffix(data, suffix)
        finally:
            os.close(held)

    @asynccontextmanager
    async def tree(self, name: str, length: int, fill: Callable[[Path], Awaitable[None]]) -> AsyncIterator[Path]:
        """A folder with files of `length` bytes in all, filled unless it is here, for as long as the context is open.

        Nobody sees it before it is whole. Raises what `fill` does, `RetryLater` if the disk has no room for it,
        `Postponed` if it takes long.
        """
        folder = self._tree(name)
        data = folder / "data"
        with self._room():
            while True:
                held = _lock(folder, fcntl.LOCK_SH)
                if held is not None:
                    try:
                        whole = await asyncio.to_thread(_size, data) == length
                    except BaseException:
                        # Given up meanwhile: a lock that stays would keep everybody from filling the folder.
                        os.close(held)
                        raise
                    if whole:
                        break
                    os.close(held)
                await self._makings.made(folder.name, partial(self._fill, folder, length, fill))
        try:
            now = time.time_ns()
            os.utime(data, ns=(now, now))
            yield data
        finally:
            os.close(held)

    async def _fill(self, folder: Path, length: int, fill: Callable[[Path], Awaitable[None]]) -> None:
        held = await self._locked(folder)
        try:
            if await asyncio.to_thread(_size, folder / "data") == length:
                return
            await asyncio.to_thread(self._clear, folder)
            await asyncio.to_thread(self._evict, length, folder)
            # Whoever was filling it when it was given up may still be at it: into another one.
            part = folder / f"part-{uuid.uuid4().hex}"
            try:
                part.mkdir()
                await fill(part)
                if (filled := await asyncio.to_thread(_size, part)) != length:
                    raise Reject(
                        f"The slide's files have {filled:,} bytes, but {length:,} were expected.",
                        "Upload the slide again.",
                    )
                part.rename(folder / "data")
            finally:
                await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
        finally:
            os.close(held)

    @staticmethod
    def _clear(folder: Path) -> None:
        """Removes what was left by somebody who crashed, or who is not yet done with being interrupted."""
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            elif left.name != "lock":
                left.unlink(missing_ok=True)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._full() from error

    def _tree(self, name: str) -> Path:
        return self._folder / f"{name}-unpacked"

    async def drop(self, name: str) -> None:
        """Removes a copy, of a file or a folder, if there is one that nobody has open."""
        for folder in (self._folder / name, self._tree(name)):
            if folder.exists():
                await asyncio.to_thread(self._drop, folder)

    @staticmethod
    def _drop(folder: Path) -> bool:
        if (held := _lock(folder, fcntl.LOCK_EX)) is None:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)
        return True

    @staticmethod
    async def _locked(folder: Path) -> int:
        while (descriptor := _lock(folder, fcntl.LOCK_EX)) is None:
            await asyncio.sleep(_LOOK_SECONDS)
        return descriptor

    @staticmethod
    def _with_suffix(data: Path, suffix: str) -> Path:
        if not suffix:
            return data
        path = data.with_name(f"slide{suffix}")
        try:
            os.link(data, path)
        except FileExistsError:
            pass
        return path

    async def _make(self, folder: Path, length: int, download: Callable[[], AsyncIterator[bytes]]) -> None:
        held = await self._locked(folder)
        try:
            if _size(folder / "data") == length:
                return
            await asyncio.to_thread(self._clear, folder)
            await asyncio.to_thread(self._evict, length, folder)
            part = folder / "part"
            try:
                written = await self._write(part, download())
                if written != length:
                    raise Reject(
                        f"The stored file is {length} bytes long, but {written} bytes were found.",
                        "Upload the file again.",
                    )
                part.rename(folder / "data")
            finally:
                part.unlink(missing_ok=True)
        finally:
            os.close(held)

    async def _write(self, path: Path, pieces: AsyncIterator[bytes]) -> int:
        written = 0
        with path.open("wb", buffering=0) as file:
            async for piece in pieces:
                await asyncio.to_thread(_write_whole, file, piece)
                written += len(piece)
        return written

    def _evict(self, coming: int, but: Path) -> None:
        """Removes copies that nobody has open until `coming` more bytes fit, if they can be made to fit the limit.

        Raises `RetryLater` where the disk has no room for them whatever goes.
        """
        copies: list[tuple[float, int, Path]] = []
        # A part is being downloaded now, which its lock tells, or was left by a crash.
        for path in [*self._folder.glob("*/data"), *self._folder.glob("*/part*")]:
            try:
                copies.append((path.stat().st_mtime, _size(path) or 0, path.parent))
            except FileNotFoundError:
                continue
        held, free = sum(size for _, size, _ in copies), shutil.disk_usage(self._folder).free
        if coming > free + held:
            raise self._full()
        excess = max(held + coming - self._limit, coming - free)
        for _, size, folder in sorted(copies):
            if excess <= 0:
                return
            if folder != but and self._drop(folder):
                excess -= size

    def _full(self) -> RetryLater:
        return RetryLater(f"The disk of the scratch folder {self._folder} is full.")
