"""One decoder child as its service sees it: one blocking exchange at a time, and its end.

Everything here blocks and is called from worker threads, but for `Child.kill`.
"""

import os
import pickle
import select
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from shared.decoding import arena, wire
from shared.errors import DecoderDied, Unavailable

Buffer = bytes | bytearray | memoryview
Reply = wire.Read | wire.Done | wire.Refused | wire.Broken | wire.DiskFull | wire.OutOfMemory | list[tuple[Any, bytes]]

_NONSENSE = "the decoder sent nonsense"


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

    def begin(self, call: wire.Call, inputs: Sequence[Buffer], feed: socket.socket | None, seconds: float) -> Reply:
        """Sends a call, its inputs and its feed, which it closes; returns and raises as `proceed` does."""
        self.calls += 1
        arena.write(self._inputs, inputs)
        return self.proceed(call, seconds, feed)

    def proceed(
        self, message: wire.Call | wire.Answer | None, seconds: float, feed: socket.socket | None = None
    ) -> Reply:
        """Sends a message, if any, and waits at most `seconds` for what the child says next.

        A batch comes as the list of its keys and bytes, copied out of the arena. Raises TimeoutError, `DecoderDied` if
        the child has died, `Unavailable` if it was stopped together with the fork server.
        """
        self._sock.settimeout(max(seconds, 0.001))
        try:
            if message is not None:
                wire.send(self._sock, message)
            if feed is not None:
                wire.send_descriptor(self._sock, feed.fileno())
                # From here on the child alone has it, so that its death ends whoever sends.
                feed.close()
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
        if not isinstance(reply, (wire.Read, wire.Done, wire.Refused, wire.Broken, wire.DiskFull, wire.OutOfMemory)):
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
            return DecoderDied(
                "the decoder was killed (SIGKILL), perhaps because the machine had no memory left",
                "The slide is hardly to blame: retry it, and if it fails again ask the operator about the memory.",
            )
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
