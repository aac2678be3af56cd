"""The loop of a decoder child: take a call, run it, send what comes out."""

import errno
import mmap
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from shared.decoding import arena, wire
from shared.decoding.source import Source
from shared.errors import Reject
from shared.heap import give_back

BATCH_BYTES = 2 * 2**20
# About what the largest square takes. A picture's rows take more, and may be the last for long.
_KEPT_BYTES = 128 * 2**20


class Arenas(NamedTuple):
    """Descriptors: the inputs, read-only, and the two halves of the output."""

    inputs: int
    halves: tuple[int, int]


class ServiceGone(BaseException):
    """Nobody is left to work for. No function that runs in the child may take it for an error of its own."""


class Service:
    """The service at the other end of the socket, as a child sees it."""

    def __init__(self, sock: socket.socket, halves: tuple[int, int]) -> None:
        self._sock = sock
        self._halves = halves
        self._uncopied = 0

    def next_call(self) -> wire.Call:
        """Waits for work. This and all others raise `ServiceGone` when the service has gone."""
        while True:
            message = self._receive()
            if isinstance(message, wire.Call):
                self._uncopied = 0
                return message

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the source."""
        self.send(wire.Read(offset, length))
        while True:
            message = self._receive()
            if isinstance(message, wire.Answer):
                return message.data

    def feed(self) -> int:
        """The descriptor of the feed of the call that came last."""
        try:
            return wire.receive_descriptor(self._sock)
        except (EOFError, OSError) as error:
            raise ServiceGone from error

    def send(self, message: object) -> None:
        """Sends a message. Raises what pickle raises, before anything is sent."""
        try:
            wire.send(self._sock, message)
        except OSError as error:
            raise ServiceGone from error

    def send_stream(self, results: Iterable[tuple[Any, bytes]]) -> None:
        """Sends all results; the next batch is computed while the service copies the one before it."""
        half, end = 0, 0
        items: list[tuple[Any, int]] = []
        for key, data in results:
            if items and end + len(data) > BATCH_BYTES:
                self._send_batch(half, items)
                half, end, items = 1 - half, 0, []
                self._wait_until_free()
                arena.trim(self._halves[half])
            end = arena.write(self._halves[half], [data], end)
            items.append((key, len(data)))
        if items:
            self._send_batch(half, items)

    def _send_batch(self, half: int, items: list[tuple[Any, int]]) -> None:
        self.send(wire.Batch(half, items))
        self._uncopied += 1

    def _wait_until_free(self) -> None:
        while self._uncopied == len(self._halves):
            self._receive()

    def _receive(self) -> object:
        try:
            data = wire.receive(self._sock, sys.maxsize)
        except (EOFError, OSError) as error:
            raise ServiceGone from error
        message: object = pickle.loads(data)  # noqa: S301 - the service is trusted
        if isinstance(message, wire.Copied):
            self._uncopied -= 1
        return message


class Inputs:
    """The input arena. Its kept part stays mapped, since mapping 5 MB takes longer than copying it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._kept = self._map(arena.KEPT_BYTES)

    def _map(self, length: int) -> memoryview:
        return memoryview(mmap.mmap(self._fd, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ))

    @contextmanager
    def views(self, lengths: tuple[int, ...]) -> Iterator[list[memoryview]]:
        """Read-only views of inputs of these lengths in bytes, good until the context ends."""
        total = sum(lengths)
        whole = self._kept if total <= arena.KEPT_BYTES else self._map(total)
        views = []
        offset = 0
        for length in lengths:
            views.append(whole[offset : offset + length])
            offset += length
        try:
            yield views
        finally:
            for view in views:
                # An array that outlives its call keeps its view, and reads whatever comes to lie there.
                with suppress(BufferError):
                    view.release()


def serve(sock: socket.socket, arenas: Arenas) -> None:
    """Answers calls until the service goes away or a call has used up the memory."""
    service = Service(sock, arenas.halves)
    inputs = Inputs(arenas.inputs)
    with suppress(ServiceGone):
        while True:
            call = service.next_call()
            outcome: wire.Done | wire.Refused | wire.Broken | wire.DiskFull | wire.OutOfMemory
            try:
                outcome = _run(call, service, inputs)
            except MemoryError:
                outcome = wire.OutOfMemory()
            try:
                service.send(outcome)
            except Exception:
                service.send(wire.Broken(traceback.format_exc()))
            if isinstance(outcome, wire.OutOfMemory):
                return
            give_back(_KEPT_BYTES)


def _run(call: wire.Call, service: Service, inputs: Inputs) -> wire.Done | wire.Refused | wire.Broken | wire.DiskFull:
    source = Source(service.read, call.source_length) if call.source else None
    keywords: dict[str, Any] = {} if source is None else {"source": source}
    feed = service.feed() if call.feed else None
    if feed is not None:
        keywords["feed"] = feed
    try:
        if call.inputs is None:
            return _finish(call, service, keywords)
        with inputs.views(call.inputs) as views:
            return _finish(call, service, {**keywords, "inputs": views})
    except (ServiceGone, MemoryError):
        raise
    except Reject as error:
        return wire.Refused(error.reason, error.remedy, error.heard)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return wire.DiskFull()
        return wire.Broken(traceback.format_exc())
    finally:
        if feed is not None:
            os.close(feed)


def _finish(call: wire.Call, service: Service, keywords: dict[str, Any]) -> wire.Done:
    result = call.function(*call.args, **keywords)
    if not call.streams:
        return wire.Done(result)
    service.send_stream(result)
    return wire.Done(None)
