"""What a decoder child can no longer do once it has said so: start programs, use TCP, signal anything outside itself.

By Landlock, where the kernel has it: it needs no rights, holds for good and for all threads to come. Linux 6.12 and
newer forbid all of it, older ones what they know of it, the oldest nothing.
"""

import ctypes
import os
import struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1
# The fields of `struct landlock_ruleset_attr` with the first version that knows each, and all that we mean of it.
_EXECUTE = (1, 1 << 0)
_TCP_BIND_AND_CONNECT = (4, 1 << 0 | 1 << 1)
_ABSTRACT_SOCKETS_AND_SIGNALS = (6, 1 << 0 | 1 << 1)


def version() -> int:
    """The kernel's version of Landlock; 0 where there is none."""
    found: int = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    return max(found, 0)


def confine() -> None:
    """Confines this process, which has one thread and has given up gaining rights."""
    known = version()
    fields = [
        bits for since, bits in (_EXECUTE, _TCP_BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS) if known >= since
    ]
    if not fields:
        return
    libc = ctypes.CDLL(None)
    ruleset = struct.pack(f"<{len(fields)}Q", *fields)
    fd = libc.syscall(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), 0)
    if fd >= 0:
        # Whatever the ruleset handles and no rule allows is forbidden, and there are no rules.
        libc.syscall(_RESTRICT_SELF, fd, 0)
        os.close(fd)
