"""What the tests of the decoder children run inside them."""

import errno
import hashlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from shared.errors import Reject
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Position


def add(left: int, right: int) -> int:
    return left + right


def find_disk_full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def process_id() -> int:
    return os.getpid()


def digests(prefix: str, *, inputs: Sequence[memoryview]) -> list[str]:
    return [prefix + hashlib.sha256(part).hexdigest() for part in inputs]


def count(*, inputs: Sequence[memoryview]) -> int:
    return len(inputs)


def write_into_input(*, inputs: Sequence[memoryview]) -> None:
    inputs[0][0] = 1


@dataclass(frozen=True)
class Look:
    width: int
    offsets: tuple[int, ...]


def value_objects(position: Position, recipe: Recipe) -> tuple[Position, Recipe, Look]:
    return position._replace(row=position.row + 1), recipe.model_copy(update={"quality": 31}), Look(7, (1, 2))


def return_array() -> Any:
    return np.zeros(3)


class Malice:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def return_malice(path: str) -> Malice:
    return Malice(path)


def reject() -> None:
    raise Reject("The slide is torn.", "Scan it again.", "tear at 7\ntear at 9\n")


def fail() -> None:
    raise KeyError("a tile that is not there")


def fail_as_if_the_connection_was_lost() -> None:
    raise EOFError("the TIFF ends here")


def send_signal(number: int) -> None:
    os.kill(os.getpid(), number)


def abort() -> None:
    os.abort()


def leave(code: int) -> None:
    os._exit(code)


def hold_memory(count: int) -> int:
    return int(np.ones(count, np.uint8)[-1])


KEPT = bytearray()


def fill_the_heap_and_free_it_but_for_its_end(count: int) -> int:
    """Resident bytes in between; what is kept lies above what is freed."""
    global KEPT
    parts = [bytearray(2**20) for _ in range(count)]
    KEPT = bytearray(2**20)
    held = resident()
    del parts
    return held


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def take_python_memory() -> int:
    parts = []
    while True:
        parts.append(bytearray(2**20))


def loop_for_ever(mark: str | None = None) -> None:
    if mark:
        Path(mark).write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)


def ignore_signals_for_ever(mark: str) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    loop_for_ever(mark)


def environment() -> dict[str, str]:
    return dict(os.environ)


def write_file(path: str, length: int) -> int:
    return Path(path).write_bytes(bytes(length))


def open_files(count: int) -> int:
    with ExitStack() as held:
        for _ in range(count):
            held.enter_context(open("/dev/null", "rb"))
    return count


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), 5.0).close()


def listen() -> None:
    socket.create_server(("127.0.0.1", 0)).close()


def signal_process(pid: int) -> None:
    os.kill(pid, 0)


def run_program() -> None:
    subprocess.run(["/bin/true"], check=True)


def open_sockets() -> list[str]:
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return [name for name in names if name.startswith("socket:")]


def limits() -> str:
    return Path("/proc/self/limits").read_text()


def read_source(places: Sequence[tuple[int, int]], *, source: BinaryIO) -> list[bytes]:
    found = []
    for offset, length in places:
        source.seek(offset)
        found.append(source.read(length))
    return found


def source_length(*, source: BinaryIO) -> int:
    return source.seek(0, 2)


def read_for_ever(*, source: BinaryIO) -> None:
    offset = 0
    while True:
        source.seek(offset)
        source.read(1)
        offset += 2**20


def meet(address: str, *, seconds: float = 30.0) -> int:
    """Returns only once the test has seen this process and let it go, so that it proves to run beside others."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(seconds)
        sock.connect(address)
        sock.recv(1)
    return os.getpid()


def tile(number: int, length: int) -> bytes:
    return number.to_bytes(4, "little") * (length // 4)


def tiles(total: int, length: int) -> Iterator[tuple[Position, bytes]]:
    for number in range(total):
        yield Position(0, number, 7), tile(number, length)


def tiles_with_progress(total: int, length: int, log: str) -> Iterator[tuple[int, bytes]]:
    with open(log, "ab", buffering=0) as progress:
        for number in range(total):
            progress.write(b".")
            yield number, tile(number, length)


def tiles_then_reject(total: int) -> Iterator[tuple[int, bytes]]:
    for number in range(total):
        yield number, tile(number, 2**20)
    raise Reject("The slide ends early.", "Scan it again.")


def tiles_from_source(total: int, length: int, *, source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    for number in range(total):
        source.seek(number * length)
        yield number, source.read(length)


def halves_of(*, inputs: Sequence[memoryview]) -> Iterator[tuple[int, bytes]]:
    for number, part in enumerate(inputs):
        yield number, bytes(part[: len(part) // 2])


def digest_of_feed(*, feed: int) -> Iterator[tuple[int, bytes]]:
    digest, length = hashlib.sha256(), 0
    # As libvips reads a PNG.
    while data := os.read(feed, 8192):
        digest.update(data)
        length += len(data)
    yield length, digest.digest()


def beginning_of_feed(length: int, *, feed: int) -> Iterator[tuple[int, bytes]]:
    yield length, os.read(feed, length)


def refuse_what_ends_early(*, feed: int) -> Iterator[tuple[int, bytes]]:
    read = sum(len(data) for data in iter(lambda: os.read(feed, 8192), b""))
    yield read, b""
    raise Reject(f"it ends after {read} bytes", "send it again")


def die_while_fed(*, feed: int) -> Iterator[tuple[int, bytes]]:
    yield 5, os.read(feed, 5)
    os.kill(os.getpid(), signal.SIGKILL)
