"""The service's side of its fork server: starting it, and decoder children from it.

Everything here blocks and is called from worker threads, but for `ForkServer.launch` and `abort`.
"""

import os
import socket
import subprocess
import sys
from threading import Lock

from shared.decoding import arena, wire
from shared.decoding.decoder import Child
from shared.decoding.limits import Limits
from shared.errors import Unavailable

_LOADING_SECONDS = 60.0
_FATE_SECONDS = 5.0
# The largest result by far is a batch of tiles, of 2 MiB.
_RESULTS_BYTES = 256 * 2**20
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

    def spawn(self, writes: int = 0) -> Child:
        """A new child, which `writes` files of up to so many bytes.

        Raises `Unavailable` if this machine gives none just now.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the decoders are closed")
            try:
                return self._spawn(writes)
            except (OSError, EOFError):
                pass
            # Somebody ended the fork server, or it could not fork: it is cheap to start afresh.
            self._stop_process()
            try:
                self.launch()
                self.wait_until_loaded()
                return self._spawn(writes)
            except (OSError, EOFError, RuntimeError) as error:
                raise Unavailable(f"no decoder process can be started on this machine ({error})") from error

    def _spawn(self, writes: int) -> Child:
        if self._control is None:
            raise EOFError
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        fate, teller = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inputs = arena.create("decoder-inputs")
        halves = (arena.create("decoder-output-0"), arena.create("decoder-output-1"))
        seen = arena.read_only(inputs)
        try:
            fds = [teller.fileno(), theirs.fileno(), seen, *halves]
            socket.send_fds(self._control, [Limits(self._memory, max(_RESULTS_BYTES, writes)).pack()], fds)
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
