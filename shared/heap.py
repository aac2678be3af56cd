"""How the C library keeps memory that was freed, in services as in decoder children."""

import ctypes
import resource
from contextlib import suppress

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
# Chunks of files, batches of tiles and tile rows come and go by the megabyte all day: fresh pages for each cost as much
# as moving their bytes, or decoding them. So all but the largest are taken from the heap, and it is not cut short while
# less than this is free at its end. The most that glibc takes for the first; twice as much of the second saved no time.
_KEPT_BYTES = 32 * 2**20


def keep_heap(heaps: int) -> None:
    """Has all threads of this process share so many `heaps`, and keep what is freed for the next who wants it.

    By default glibc gives a thread a heap of its own, up to eight for each core, and no two of them share what was
    freed. Another C library is left as it is.
    """
    with suppress(AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, heaps)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back(above: int = 0) -> None:
    """Gives what is free back to the system, for a few milliseconds, where more than `above` bytes are private here."""
    resident, shared = _statm().split()[1:3]
    if (int(resident) - int(shared)) * resource.getpagesize() > above:
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _statm() -> str:
    with open("/proc/self/statm") as counts:
        return counts.read()
