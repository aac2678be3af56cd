"""Digests of the bytes of an upload that were seen from 0 on in order, carried from request to request."""

import asyncio
import hashlib
from collections import OrderedDict
from typing import Any

IN_LOOP = 64 * 1024
UPLOADS = 4096


class Digests:
    """MD5 and SHA-256 of the first `length` bytes. Never changes: `after` gives a new one."""

    def __init__(self, length: int = 0, md5: Any = None, sha256: Any = None) -> None:
        self.length = length
        self._md5 = md5 or hashlib.md5(usedforsecurity=False)
        self._sha256 = sha256 or hashlib.sha256()

    @property
    def md5(self) -> str:
        """In hex."""
        return str(self._md5.hexdigest())

    @property
    def sha256(self) -> str:
        """In hex."""
        return str(self._sha256.hexdigest())

    async def after(self, data: bytes) -> "Digests":
        """The digests with `data` appended, computed off the event loop where it would hold others up."""
        return await asyncio.to_thread(self._after, data) if len(data) > IN_LOOP else self._after(data)

    def _after(self, data: bytes) -> "Digests":
        md5, sha256 = self._md5.copy(), self._sha256.copy()
        md5.update(data)
        sha256.update(data)
        return Digests(self.length + len(data), md5, sha256)


class Running:
    """The digests of the uploads under way in this process; the least recently used ones go first.

    An upload that is not in here, or whose digests end before its end, is read once more when it is verified.
    """

    def __init__(self) -> None:
        self._uploads: OrderedDict[str, Digests] = OrderedDict()

    def of(self, upload: str) -> Digests:
        """What is hashed so far."""
        return self._uploads.get(upload) or Digests()

    def commit(self, upload: str, digests: Digests, start: int) -> None:
        """Goes on from `start` to the end of `digests`, once those bytes are stored; ignored out of order."""
        if self.of(upload).length == start:
            self._uploads[upload] = digests
            self._uploads.move_to_end(upload)
            while len(self._uploads) > UPLOADS:
                self._uploads.popitem(last=False)

    def forget(self, upload: str) -> None:
        """The upload has ended."""
        self._uploads.pop(upload, None)
