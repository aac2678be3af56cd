"""What a decoder child may take of the machine, besides time: set by itself, before it sees a call, and for good."""

import ctypes
import resource
import struct
from typing import NamedTuple, Self

_PR_SET_NO_NEW_PRIVS = 38
# Its libraries are loaded. A slide of several files, such as a DICOM series, is a few dozen.
_OPEN_FILES = 256
_NUMBERS = struct.Struct("<qq")


class Limits(NamedTuple):
    """In bytes: private memory, libraries included, and the length of any file that it writes.

    The results of a child lie in unnamed files in memory, which count as files here and not as private memory.
    """

    memory: int
    file: int

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` packed."""
        return cls(*_NUMBERS.unpack(packed))

    def pack(self) -> bytes:
        """As bytes, `PACKED_BYTES` of them."""
        return _NUMBERS.pack(*self)

    def apply(self) -> None:
        """Sets them for this process; they can't be raised again, and no program that it starts gains a right."""
        for number, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_DATA, self.memory),
            (resource.RLIMIT_FSIZE, self.file),
            (resource.RLIMIT_NOFILE, _OPEN_FILES),
            # Nothing is kept out of swap, and no queue outlives its process.
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
        ):
            _, hard = resource.getrlimit(number)
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(number, (least, least))
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


PACKED_BYTES = _NUMBERS.size
