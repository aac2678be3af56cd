"""The service's side of its decoder children: starting them, one blocking exchange at a time, and their end.

Everything here blocks and is called from worker threads, but for `ForkServer.launch` and `Child.kill`.
"""

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from shared.decoding import arena, wire
from shared.errors import DecoderDied, Unavailable

Buffer = bytes | bytearray | memoryview
Reply = wire.Read | wire.Done | wire.Refused | wire.Broken | wire.OutOfMemory | list[tuple[Any, bytes]]

_LOADING_SECONDS = 60.0
_FATE_SECONDS = 5.0
_NONSENSE = "the decoder sent nonsense"
# Only what a decoder needs: a service's settings, and with them every credential, stay with the service.
_KEPT_NAMES = frozenset({"HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV"})
_KEPT_PREFIXES = ("LC_", "MALLOC_", "PYTHON", "VIPS_")
_SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "VIPS_CONCURRENCY": "1",
}


def decoder_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment of decoder children, made from the service's own."""
    kept = {
        name: value for name, value in environment.items() if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)
    }
    return {**kept, **_SINGLE_THREADED, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


class ForkServer:
    """The process with the imaging libraries loaded, from which children are forked within milliseconds.

    It is a program of its own, started by exec, so it holds no connection and no lock of the service whenever it is
    started. `preload` is the module to load, `memory` each child's limit in bytes of private memory.
    """

    def __init__(self, preload: str, memory: int) -> None:
        self._preload = preload
        self._memory = memory
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._closed = False

    def launch(self) -> None:
        """Starts the process without waiting until it has loaded the module."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "shared.decoding.forkserver", str(theirs.fileno()), self._preload],
                env=decoder_environment(dict(os.environ)),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        ours.settimeout(_LOADING_SECONDS)
        self._control = ours

    def wait_until_loaded(self) -> None:
        """Returns once children can be made. Raises RuntimeError with the reason if the module can't be loaded."""
        if self._control is None:
            raise RuntimeError("the fork server was not launched")
        try:
            told = self._control.recv(65536)
        except OSError as error:
            told = str(error).encode()
        if told != wire.LOADED:
            self._stop_process()
            reason = told.decode(errors="replace") or "its process ended"
            raise RuntimeError(f"decoders can't be started with {self._preload}: {reason}")

    def spawn(self) -> "Child":
        """A new child. Raises `Unavailable` if this machine gives none just now."""
        with self._lock:
            if self._closed:
                raise Unavailable("the decoders are closed")
            try:
                return self._spawn()
            except (OSError, EOFError):
                pass
            # Somebody ended the fork server, or it could not fork: it is cheap to start afresh.
            self._stop_process()
            try:
                self.launch()
                self.wait_until_loaded()
                return self._spawn()
            except (OSError, EOFError, RuntimeError) as error:
                raise Unavailable(f"no decoder process can be started on this machine ({error})") from error

    def _spawn(self) -> "Child":
        if self._control is None:
            raise EOFError
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        fate, teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inputs = arena.create("decoder-inputs")
        halves = (arena.create("decoder-output-0"), arena.create("decoder-output-1"))
        seen = arena.read_only(inputs)
        try:
            fds = [teller.fileno(), theirs.fileno(), seen, *halves]
            socket.send_fds(self._control, [wire.NUMBER.pack(self._memory)], fds)
            teller.close()
            theirs.close()
            fate.settimeout(_FATE_SECONDS)
            told, pidfds, _, _ = socket.recv_fds(fate, wire.NUMBER.size, 1)
            if len(pidfds) != 1:
                raise EOFError
        except BaseException:
            for sock in (ours, fate):
                sock.close()
            for fd in (inputs, *halves):
                os.close(fd)
            raise
        finally:
            teller.close()
            theirs.close()
            os.close(seen)
        packages = frozenset({"shared", self._preload.partition(".")[0]})
        return Child(wire.NUMBER.unpack(told)[0], pidfds[0], ours, fate, inputs, halves, self._memory, packages)

    def abort(self) -> None:
        """Ends the fork server without waiting, so that whoever waits for it to load gives up."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Ends the fork server and with it every child; returns when the fork server has gone."""
        self._closed = True
        with self._lock:
            self._stop_process()

    def _stop_process(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_FATE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class Child:
    """One decoder child: its socket, its arenas, and the descriptor that names its process without mistake.

    One thread at a time talks to it; `kill` may be called from any.
    """

    def __init__(
        self,
        pid: int,
        pidfd: int,
        sock: socket.socket,
        fate: socket.socket,
        inputs: int,
        halves: tuple[int, int],
        memory: int,
        packages: frozenset[str],
    ) -> None:
        self.pid = pid
        self.calls = 0
        self._pidfd = pidfd
        self._sock = sock
        self._fate = fate
        self._inputs = inputs
        self._halves = halves
        self._memory = memory
        self._packages = packages

    def alive(self) -> bool:
        """Whether the process still runs."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def begin(self, call: wire.Call, inputs: Sequence[Buffer], seconds: float) -> Reply:
        """Sends a call and its inputs; returns and raises as `proceed` does."""
        self.calls += 1
        arena.write(self._inputs, inputs)
        return self.proceed(call, seconds)

    def proceed(self, message: wire.Call | wire.Answer | None, seconds: float) -> Reply:
        """Sends a message, if any, and waits at most `seconds` for what the child says next.

        A batch comes as the list of its keys and bytes, copied out of the arena. Raises TimeoutError, `DecoderDied` if
        the child has died, `Unavailable` if it was stopped together with the fork server.
        """
        self._sock.settimeout(max(seconds, 0.001))
        try:
            if message is not None:
                wire.send(self._sock, message)
            data = wire.receive(self._sock, self._memory)
            try:
                reply = wire.loads_plain(data, self._packages)
            except pickle.UnpicklingError as error:
                return wire.Broken(f"It returned {error}.")
            if isinstance(reply, wire.Batch):
                results = self._copy(reply)
                wire.send(self._sock, wire.Copied())
                return results
        except TimeoutError:
            raise
        except (EOFError, ConnectionError):
            raise self._end() from None
        if not isinstance(reply, (wire.Read, wire.Done, wire.Refused, wire.Broken, wire.OutOfMemory)):
            raise DecoderDied(_NONSENSE)
        return reply

    def _copy(self, batch: wire.Batch) -> list[tuple[Any, bytes]]:
        try:
            keys = [key for key, _ in batch.items]
            lengths = [length for _, length in batch.items]
            if min(lengths) < 0 or sum(lengths) > self._memory:
                raise ValueError
            return list(zip(keys, arena.read(self._halves[batch.half], lengths), strict=True))
        except (EOFError, IndexError, TypeError, ValueError):
            raise DecoderDied(_NONSENSE) from None

    def _end(self) -> Exception:
        try:
            told = self._fate.recv(wire.NUMBER.size)
        except TimeoutError:
            return DecoderDied("the decoder stopped answering")
        except OSError:
            told = b""
        if len(told) != wire.NUMBER.size:
            return Unavailable("the decoder processes were stopped")
        (status,) = wire.NUMBER.unpack(told)
        if status >= 0:
            return DecoderDied(f"the decoder ended itself with exit code {status}")
        if -status == signal.SIGKILL:
            return DecoderDied("the decoder was killed (SIGKILL), perhaps because the machine had no memory left")
        return DecoderDied(f"the decoder crashed ({signal.Signals(-status).name})")

    def rest(self) -> None:
        """Gives the memory of unusually large arenas back between calls."""
        for fd in (self._inputs, *self._halves):
            arena.trim(fd)

    def kill(self) -> None:
        """Ends the process at once; whoever waits for it learns that immediately."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Ends the process and lets go of all it shared. Nobody may be talking to it."""
        self.kill()
        self._sock.close()
        self._fate.close()
        for fd in (self._pidfd, self._inputs, *self._halves):
            os.close(fd)
