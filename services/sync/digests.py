"""What has been made of the bytes read so far, to be gone on with: digests of a file, checksums of several."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from shared.store.documents.entries import Member


@dataclass
class Hashed:
    """The digests of the first `length` bytes of something."""

    length: int = 0
    _md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    _sha256: Any = field(default_factory=hashlib.sha256)

    def sha256_only(self, data: bytes) -> None:
        """Appends, where the MD5 is not asked for."""
        self._sha256.update(data)
        self.length += len(data)

    def both(self, data: bytes) -> None:
        """Appends."""
        self._md5.update(data)
        self.sha256_only(data)

    @property
    def md5(self) -> str:
        """In hex."""
        return str(self._md5.hexdigest())

    @property
    def sha256(self) -> str:
        """In hex."""
        return str(self._sha256.hexdigest())


@dataclass
class Sums:
    """The files whose CRCs are known, and that of the first `at` bytes of the next one."""

    done: list[Member] = field(default_factory=list)
    at: int = 0
    crc: int = 0
    moved: bool = False
