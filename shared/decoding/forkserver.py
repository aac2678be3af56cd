"""The process that decoder children are forked from: it has the imaging libraries loaded and nothing else.

Run as `python -m shared.decoding.forkserver DESCRIPTOR MODULE` by `shared.decoding.forks`. It has one thread, no
credentials and no connections, so neither have its children. It ends, and ends them, when the service's end of the
control socket closes, however the service died.
"""

import ctypes
import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NamedTuple

from shared.decoding import wire
from shared.decoding.child import Arenas, serve
from shared.decoding.confinement import confine
from shared.decoding.limits import PACKED_BYTES, Limits
from shared.heap import keep_heap

_REQUEST_FDS = 5
_PR_SET_PDEATHSIG = 1
# One thread at a time makes most of what a decoder holds.
_HEAPS = 1
# The kernel should end a decoder, which is replaced in milliseconds, before it ends a service.
_OOM_SCORE = b"500"


class _Living(NamedTuple):
    pid: int
    fate: socket.socket


def main(control: socket.socket, preload: str) -> None:
    """Loads the module, says so, then forks a child for each request and tells each child's end."""
    # Ctrl-C or a supervisor's signal to the whole group must not take the decoder from a service that finishes its
    # block first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        _load(preload)
        if len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError(f"importing {preload} starts threads, which forked children would be without")
    except Exception:
        control.send(traceback.format_exc().encode()[:60000])
        return
    gc.collect()
    gc.freeze()
    control.send(wire.LOADED)
    living: dict[int, _Living] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == control.fileno():
                request, fds, _, _ = socket.recv_fds(control, PACKED_BYTES, _REQUEST_FDS)
                if len(fds) != _REQUEST_FDS:
                    for pidfd in living:
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    return
                born = _fork(control, living, Limits.unpack(request), fds)
                if born is not None:
                    poll.register(born, select.POLLIN)
            else:
                poll.unregister(fd)
                _bury(fd, living.pop(fd))


def _load(preload: str) -> None:
    """Imports the module, and where it is a package all modules of it."""
    loaded = importlib.import_module(preload)
    for found in pkgutil.iter_modules(getattr(loaded, "__path__", ())):
        importlib.import_module(f"{preload}.{found.name}")


def _fork(control: socket.socket, living: dict[int, _Living], limits: Limits, fds: list[int]) -> int | None:
    fate = socket.socket(fileno=fds[0])
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        for fd in fds[1:]:
            os.close(fd)
        fate.close()
        return None
    if pid == 0:
        _be_child(server, control, living, fate, limits, fds)
    for fd in fds[1:]:
        os.close(fd)
    pidfd = os.pidfd_open(pid)
    living[pidfd] = _Living(pid, fate)
    with suppress(OSError):
        socket.send_fds(fate, [wire.NUMBER.pack(pid)], [pidfd])
    return pidfd


def _bury(pidfd: int, child: _Living) -> None:
    _, status = os.waitpid(child.pid, 0)
    os.close(pidfd)
    with suppress(OSError):
        child.fate.send(wire.NUMBER.pack(os.waitstatus_to_exitcode(status)))
    child.fate.close()


def _be_child(
    server: int, control: socket.socket, living: dict[int, _Living], fate: socket.socket, limits: Limits, fds: list[int]
) -> None:
    code = 1
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            return
        control.close()
        fate.close()
        for pidfd, sibling in living.items():
            os.close(pidfd)
            sibling.fate.close()
        with suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:
            score.write(_OOM_SCORE)
        keep_heap(_HEAPS)
        limits.apply()
        confine()
        _, call, inputs, first, second = fds
        serve(socket.socket(fileno=call), Arenas(inputs, (first, second)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
