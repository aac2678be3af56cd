"""Decoder children, as handlers use them."""

import asyncio
import hashlib
import os
import random
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from shared.decoding import Decoders, confinement
from shared.decoding.source import BLOCK_BYTES
from shared.errors import DecoderDied, Reject, RetryLater, Unavailable
from shared.store.documents.versions import Recipe
from shared.tiles.geometry import Position
from tests.unit import decoding_functions as functions

PRELOAD = "tests.unit.decoding_functions"
MEMORY = 512 * 2**20


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoders() -> AsyncIterator[Decoders]:
    """Shared by all tests, since whatever one of them does to it must do the next no harm."""
    async with Decoders(PRELOAD, children=2, memory=MEMORY) as opened:
        yield opened


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def is_at_least(file: Path, length: int) -> bool:
    return file.stat().st_size >= length


async def named_in(mark: Path) -> int:
    await until(lambda: mark.exists() and bool(mark.read_text()))
    return int(mark.read_text())


async def until_gone(pid: int) -> None:
    await until(lambda: not psutil.pid_exists(pid))


async def alive_after_trouble(decoders: Decoders) -> None:
    assert await decoders.call(functions.add, 20, 22) == 42


def descendants() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


async def test_a_call_returns_what_the_function_returned_in_another_process(decoders: Decoders) -> None:
    assert await decoders.call(functions.add, 1, 2) == 3
    assert await decoders.call(functions.process_id) not in (os.getpid(), os.getppid())


async def test_inputs_arrive_byte_for_byte(decoders: Decoders) -> None:
    inputs = [b"", os.urandom(5), os.urandom(20 * 2**20), *(os.urandom(100) for _ in range(2000)), b""]
    expected = ["x" + hashlib.sha256(part).hexdigest() for part in inputs]

    for _ in range(2):
        assert await decoders.call(functions.digests, "x", inputs=inputs) == expected
        assert await decoders.call(functions.digests, "", inputs=[b"a"]) == [hashlib.sha256(b"a").hexdigest()]


async def test_no_inputs_at_all_are_still_inputs(decoders: Decoders) -> None:
    assert await decoders.call(functions.count, inputs=[]) == 0
    assert await decoders.call(functions.count, inputs=[b"", b""]) == 2


async def test_inputs_are_read_only(decoders: Decoders) -> None:
    with pytest.raises(RuntimeError, match="read-only"):
        await decoders.call(functions.write_into_input, inputs=[b"abc"])


async def test_value_objects_go_both_ways(decoders: Decoders) -> None:
    recipe = Recipe(revision=1, quality=80, subsampling="420", tile=256)

    found = await decoders.call(functions.value_objects, Position(0, 1, 2), recipe)

    assert found == (Position(0, 2, 2), recipe.model_copy(update={"quality": 31}), functions.Look(7, (1, 2)))
    assert type(found[0]) is Position


async def test_a_child_cannot_run_code_in_the_service(decoders: Decoders, tmp_path: Path) -> None:
    mark = tmp_path / "run"

    with pytest.raises(RuntimeError, match="which is no plain value"):
        await decoders.call(functions.return_malice, str(mark))

    with pytest.raises(RuntimeError, match=r"numpy.*which is no plain value"):
        await decoders.call(functions.return_array)
    assert not mark.exists()
    await alive_after_trouble(decoders)


async def test_calls_run_at_once_in_as_many_processes_as_there_are_children(tmp_path: Path) -> None:
    address = str(tmp_path / "meeting")
    async with Decoders(PRELOAD, children=3, memory=MEMORY) as decoders:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as meeting:
            meeting.bind(address)
            meeting.listen()
            meeting.setblocking(False)
            calls = [asyncio.create_task(decoders.call(functions.meet, address)) for _ in range(4)]
            guests = []
            async with asyncio.timeout(20):
                for _ in range(3):
                    guest, _ = await loop.sock_accept(meeting)
                    guests.append(guest)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await loop.sock_accept(meeting)

            guests.pop().close()
            guests.append((await asyncio.wait_for(loop.sock_accept(meeting), 20))[0])
            for guest in guests:
                guest.close()
            pids = await asyncio.gather(*calls)

    assert len(set(pids)) == 3


async def test_reject_crosses_the_border_with_its_remedy(decoders: Decoders) -> None:
    before = await decoders.call(functions.process_id)

    with pytest.raises(Reject) as caught:
        await decoders.call(functions.reject)

    assert (caught.value.reason, caught.value.remedy) == ("The slide is torn.", "Scan it again.")
    assert caught.value.heard == "tear at 7 tear at 9"
    assert await decoders.call(functions.process_id) == before


async def test_a_full_disk_may_have_room_later(decoders: Decoders) -> None:
    with pytest.raises(RetryLater, match="is full"):
        await decoders.call(functions.find_disk_full)


async def test_any_other_error_carries_the_traceback_of_the_child(decoders: Decoders) -> None:
    before = await decoders.call(functions.process_id)

    with pytest.raises(RuntimeError, match=r"(?s)fail failed.*KeyError: 'a tile that is not there'"):
        await decoders.call(functions.fail)
    with pytest.raises(RuntimeError, match="EOFError: the TIFF ends here"):
        await decoders.call(functions.fail_as_if_the_connection_was_lost)

    assert await decoders.call(functions.process_id) == before


@pytest.mark.parametrize(
    ("function", "args", "reason"),
    [
        (functions.send_signal, (signal.SIGSEGV,), r"crashed \(SIGSEGV\)"),
        (functions.send_signal, (signal.SIGKILL,), r"killed \(SIGKILL\)"),
        (functions.abort, (), r"crashed \(SIGABRT\)"),
        (functions.leave, (7,), "exit code 7"),
        (functions.hold_memory, (MEMORY,), "more memory than it may have"),
        (functions.take_python_memory, (), "more memory than it may have"),
    ],
)
async def test_the_death_of_a_child_is_told_in_words_and_made_good(
    decoders: Decoders, function: Callable[..., Any], args: tuple[Any, ...], reason: str
) -> None:
    for _ in range(3):
        with pytest.raises(DecoderDied, match=reason):
            await decoders.call(function, *args)
        await alive_after_trouble(decoders)


async def test_memory_within_the_limit_may_be_used(decoders: Decoders) -> None:
    assert await decoders.call(functions.hold_memory, MEMORY // 2) == 1


async def test_a_child_gives_back_what_an_unusually_large_call_took() -> None:
    async with Decoders(PRELOAD, children=1, memory=MEMORY) as decoders:
        before = await decoders.call(functions.resident)
        held = await decoders.call(functions.fill_the_heap_and_free_it_but_for_its_end, 300)

        assert held > before + 300 * 2**20
        assert await decoders.call(functions.resident) < before + 20 * 2**20


async def test_a_call_that_does_not_end_is_ended(decoders: Decoders, tmp_path: Path) -> None:
    mark = tmp_path / "pid"

    with pytest.raises(DecoderDied, match=r"longer than 0\.5 s"):
        await decoders.call(functions.loop_for_ever, str(mark), seconds=0.5)

    await until_gone(int(mark.read_text()))
    await alive_after_trouble(decoders)


async def test_a_child_that_died_while_idle_costs_nobody_anything(decoders: Decoders) -> None:
    pid = await decoders.call(functions.process_id)
    os.kill(pid, signal.SIGKILL)
    await until_gone(pid)

    assert await decoders.call(functions.process_id) != pid


async def test_the_fork_server_is_started_again_if_somebody_ends_it(decoders: Decoders, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    call = asyncio.create_task(decoders.call(functions.loop_for_ever, str(mark)))
    server = psutil.Process(await named_in(mark)).parent()
    assert server is not None
    server.kill()

    with pytest.raises(Unavailable):
        await call
    await alive_after_trouble(decoders)


async def test_cancelling_a_call_ends_its_child_and_frees_its_place(decoders: Decoders, tmp_path: Path) -> None:
    for attempt in range(4):
        mark = tmp_path / f"pid-{attempt}"
        call = asyncio.create_task(decoders.call(functions.ignore_signals_for_ever, str(mark)))
        pid = await named_in(mark)

        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        await until_gone(pid)
    await asyncio.gather(*(alive_after_trouble(decoders) for _ in range(4)))


async def test_cancelling_at_any_moment_loses_no_place(decoders: Decoders) -> None:
    for turns in range(40):
        calls = [asyncio.create_task(decoders.call(functions.add, 1, number)) for number in range(4)]
        for _ in range(turns % 10):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async with asyncio.timeout(20):
        await asyncio.gather(*(alive_after_trouble(decoders) for _ in range(4)))


async def test_children_are_replaced_after_their_units() -> None:
    async with Decoders(PRELOAD, children=1, memory=MEMORY, units=3) as decoders:
        pids = [await decoders.call(functions.process_id) for _ in range(9)]

    assert [len(set(pids[start : start + 3])) for start in (0, 3, 6)] == [1, 1, 1]
    assert len(set(pids)) == 3


async def test_children_have_no_credentials_no_connections_and_no_core_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLIDEMILL_MONGODB", "mongodb://somebody:secret@db/")
    monkeypatch.setenv("CLOUD_SECRET", "secret")
    with socket.create_server(("127.0.0.1", 0)):
        async with Decoders(PRELOAD, children=2, memory=MEMORY) as decoders:
            environment = await decoders.call(functions.environment)
            sockets = await decoders.call(functions.open_sockets)
            limits = await decoders.call(functions.limits)

    assert "secret" not in str(environment)
    assert environment["VIPS_CONCURRENCY"] == environment["OMP_NUM_THREADS"] == "1"
    assert len(sockets) == 1
    by_name = {line[:26].strip(): line[26:].split() for line in limits.splitlines()}
    assert by_name["Max data size"][:2] == [str(MEMORY)] * 2
    assert by_name["Max core file size"][:2] == ["0", "0"]
    assert by_name["Max file size"][:2] == [str(256 * 2**20)] * 2
    assert by_name["Max open files"][:2] == ["256", "256"]


async def test_a_child_writes_no_large_files_unless_that_is_its_call(decoders: Decoders, tmp_path: Path) -> None:
    large = 256 * 2**20 + 1
    with pytest.raises(RuntimeError, match="File too large"):
        await decoders.call(functions.write_file, str(tmp_path / "mine"), large)

    await alive_after_trouble(decoders)
    assert await decoders.call(functions.write_file, str(tmp_path / "asked-for"), large, writes=large) == large
    with pytest.raises(RuntimeError, match="File too large"):
        await decoders.call(functions.write_file, str(tmp_path / "later"), large)
    for written in tmp_path.iterdir():
        written.unlink()


async def test_a_child_reaches_nothing_but_its_service(decoders: Decoders) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        # Each with the first version of Landlock that forbids it: an older kernel forbids the others all the same.
        for since, function, *args in (
            (4, functions.connect, server.getsockname()[1]),
            (4, functions.listen),
            (6, functions.signal_process, os.getpid()),
            (1, functions.run_program),
        ):
            if confinement.version() >= since:
                with pytest.raises(RuntimeError, match="PermissionError"):
                    await decoders.call(function, *args)

    assert await decoders.call(functions.add, 2, 3) == 5


async def test_a_child_opens_no_great_number_of_files(decoders: Decoders) -> None:
    assert await decoders.call(functions.open_files, 100) == 100
    with pytest.raises(RuntimeError, match="Too many open files"):
        await decoders.call(functions.open_files, 1000)

    await alive_after_trouble(decoders)


async def test_a_module_that_cannot_be_loaded_is_said_at_once() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)services\.nowhere.*ModuleNotFoundError"):
        async with Decoders("services.nowhere", children=1, memory=MEMORY):
            raise AssertionError("it opened")


async def test_closing_ends_every_process_and_every_call(tmp_path: Path) -> None:
    before = descendants()
    mark = tmp_path / "pid"
    async with Decoders(PRELOAD, children=2, memory=MEMORY) as decoders:
        calls = [asyncio.create_task(decoders.call(functions.loop_for_ever, str(mark))) for _ in range(3)]
        await named_in(mark)

    assert descendants() == before
    for call in calls:
        with pytest.raises(Unavailable):
            await call
    with pytest.raises(Unavailable):
        await decoders.call(functions.add, 1, 2)


def reader_of(data: bytes, seen: list[tuple[int, int]] | None = None) -> Callable[[int, int], Awaitable[bytes]]:
    async def read(offset: int, length: int) -> bytes:
        if seen is not None:
            seen.append((offset, length))
        await asyncio.sleep(0)
        return data[offset : offset + length]

    return read


async def test_a_source_is_read_through_the_service(decoders: Decoders) -> None:
    data = os.urandom(10 * 2**20 + 12345)
    places = [(0, 4), (len(data) - 5, 100), (BLOCK_BYTES - 3, 6), (17, 9 * 2**20), (2**40, 8), (5, 0)]

    found = await decoders.call(functions.read_source, places, reader=reader_of(data))

    assert found == [data[offset : offset + length] for offset, length in places]


async def test_neighbouring_reads_of_a_source_cost_one_read_of_the_service(decoders: Decoders) -> None:
    seen: list[tuple[int, int]] = []
    data = os.urandom(BLOCK_BYTES)

    await decoders.call(
        functions.read_source, [(start, 12) for start in range(0, 60000, 12)], reader=reader_of(data, seen)
    )

    assert seen == [(0, BLOCK_BYTES)]


@pytest.mark.parametrize(
    "length", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES, 37 * BLOCK_BYTES + 99]
)
async def test_the_end_of_a_source_is_found_or_believed(decoders: Decoders, length: int) -> None:
    seen: list[tuple[int, int]] = []
    read = reader_of(bytes(length), seen)

    assert await decoders.call(functions.source_length, reader=read) == length
    seen.clear()
    assert await decoders.call(functions.source_length, reader=read, length=length) == length
    assert seen == []


async def test_what_the_reader_raises_ends_the_call(decoders: Decoders) -> None:
    async def gone(offset: int, length: int) -> bytes:
        raise Unavailable("the database is away")

    for _ in range(3):
        with pytest.raises(Unavailable, match="the database is away"):
            await decoders.call(functions.source_length, reader=gone)
    await alive_after_trouble(decoders)


async def test_waiting_for_the_source_is_not_the_child_s_time(decoders: Decoders) -> None:
    async def slow(offset: int, length: int) -> bytes:
        await asyncio.sleep(1.5)
        return b"x" * length

    assert await decoders.call(functions.read_source, [(3, 2)], reader=slow, seconds=1.0) == [b"xx"]


async def test_reading_the_source_without_end_is_ended(decoders: Decoders) -> None:
    async def endless(offset: int, length: int) -> bytes:
        return b"x" * length

    with pytest.raises(DecoderDied, match="longer than"):
        await decoders.call(functions.read_for_ever, reader=endless, seconds=0.3)
    await alive_after_trouble(decoders)


async def test_a_stream_yields_everything_in_order_in_small_batches(decoders: Decoders) -> None:
    batches = [batch async for batch in decoders.stream(functions.tiles, 1000, 20480)]

    assert [item for batch in batches for item in batch] == [
        (Position(0, number, 7), functions.tile(number, 20480)) for number in range(1000)
    ]
    assert len(batches) > 3
    assert max(sum(len(data) for _, data in batch) for batch in batches) <= 8 * 2**20


async def test_a_stream_may_be_empty_or_hold_empty_and_huge_items(decoders: Decoders) -> None:
    assert [batch async for batch in decoders.stream(functions.tiles, 0, 4)] == []
    for length in (0, 40 * 2**20):
        found = [item async for batch in decoders.stream(functions.tiles, 3, length) for item in batch]
        assert found == [(Position(0, number, 7), functions.tile(number, length)) for number in range(3)]


async def test_a_stream_takes_inputs_and_a_source(decoders: Decoders) -> None:
    data = os.urandom(6 * 2**20)
    inputs = [os.urandom(2**20) for _ in range(6)]

    halves = [item async for batch in decoders.stream(functions.halves_of, inputs=inputs) for item in batch]
    parts = [
        item
        async for batch in decoders.stream(functions.tiles_from_source, 12, 2**19, reader=reader_of(data))
        for item in batch
    ]

    assert halves == [(number, part[: 2**19]) for number, part in enumerate(inputs)]
    assert b"".join(part for _, part in parts) == data


async def test_a_stream_works_ahead_of_its_consumer_but_not_far(decoders: Decoders, tmp_path: Path) -> None:
    log = tmp_path / "log"
    handled = 0
    async for batch in decoders.stream(functions.tiles_with_progress, 64, 2**20, str(log)):
        handled += len(batch)
        await until(partial(is_at_least, log, min(handled + 1, 64)))
        assert log.stat().st_size <= handled + 8

    assert handled == 64


async def test_the_consumer_s_time_is_not_the_child_s(decoders: Decoders) -> None:
    handled = 0
    async for batch in decoders.stream(functions.tiles, 16, 2**20, seconds=2.0):
        if not handled:
            await asyncio.sleep(2.2)
        handled += len(batch)

    assert handled == 16


async def test_streaming_much_takes_little_memory(decoders: Decoders) -> None:
    pid = await decoders.call(functions.process_id)
    service = psutil.Process()
    before = service.memory_info().rss
    highest, total = 0, 0

    async for batch in decoders.stream(functions.tiles, 100, 2**20):
        total += sum(len(data) for _, data in batch)
        held = service.memory_info().rss - before + psutil.Process(pid).memory_info().shared
        highest = max(highest, held)

    assert total == 100 * 2**20
    assert highest < 64 * 2**20


async def test_unusually_large_inputs_are_not_kept(decoders: Decoders) -> None:
    pid = await decoders.call(functions.count, inputs=[bytes(200 * 2**20)])

    assert pid == 1
    files = [os.stat(f"/proc/self/fd/{fd}") for fd in arena_fds()]
    assert files
    assert max(found.st_blocks * 512 for found in files) <= 16 * 2**20


def arena_fds() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "memfd:decoder" in os.readlink(f"/proc/self/fd/{fd}"):
                found.append(fd)
        except OSError:
            continue
    return found


async def test_a_stream_ends_with_the_reject_after_what_came_before(decoders: Decoders) -> None:
    numbers: list[int] = []

    async def consume() -> None:
        async for batch in decoders.stream(functions.tiles_then_reject, 7):
            numbers.extend(number for number, _ in batch)

    with pytest.raises(Reject, match="ends early"):
        await consume()

    assert numbers
    assert numbers == list(range(7))[: len(numbers)]
    await alive_after_trouble(decoders)


async def test_leaving_a_stream_early_frees_its_place(decoders: Decoders) -> None:
    for _ in range(4):
        stream = decoders.stream(functions.tiles, 10**6, 2**16)
        async for batch in stream:
            assert batch
            break
        await stream.aclose()
    async with asyncio.timeout(20):
        await asyncio.gather(*(alive_after_trouble(decoders) for _ in range(4)))


async def pieces_of(data: bytes, length: int) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), length):
        yield data[start : start + length]


async def without_end() -> AsyncGenerator[bytes, None]:
    while True:
        yield bytes(2**20)


async def breaking_off() -> AsyncGenerator[bytes, None]:
    yield b"the beginning"
    raise Unavailable("the database has gone")


async def all_of(batches: AsyncGenerator[list[tuple[Any, bytes]], None]) -> list[tuple[Any, bytes]]:
    async with aclosing(batches):
        return [item async for batch in batches for item in batch]


@pytest.mark.parametrize("length", [1, 3 * 2**20])
async def test_a_feed_arrives_whole_and_in_order(decoders: Decoders, length: int) -> None:
    data = random.Random(5).randbytes(7 * length + 5)

    found = await all_of(decoders.stream(functions.digest_of_feed, feed=pieces_of(data, length)))

    assert found == [(len(data), hashlib.sha256(data).digest())]
    assert await all_of(decoders.stream(functions.digest_of_feed, feed=pieces_of(b"", 1))) == [
        (0, hashlib.sha256().digest())
    ]


async def test_a_feed_that_breaks_off_is_not_taken_for_one_that_ends(decoders: Decoders) -> None:
    with pytest.raises(Unavailable, match="the database has gone"):
        await all_of(decoders.stream(functions.refuse_what_ends_early, feed=breaking_off()))

    assert await decoders.call(functions.add, 2, 3) == 5


async def test_a_feed_that_nobody_reads_any_more_is_given_up() -> None:
    async with asyncio.timeout(30), Decoders(PRELOAD, children=1, memory=MEMORY) as decoders:
        await decoders.call(functions.process_id)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            found = await all_of(decoders.stream(functions.beginning_of_feed, 5, feed=without_end()))
            assert found == [(5, bytes(5))]
        with pytest.raises(DecoderDied):
            await all_of(decoders.stream(functions.die_while_fed, feed=without_end()))
        stream = decoders.stream(functions.digest_of_feed, feed=without_end())
        with suppress(TimeoutError):
            async with aclosing(stream):
                await asyncio.wait_for(anext(stream), 0.3)
        await decoders.call(functions.process_id)
        await until(lambda: len(os.listdir("/proc/self/fd")) == before)


async def test_nothing_is_left_open_after_many_children() -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with Decoders(PRELOAD, children=2, memory=MEMORY, units=1) as decoders:
        for _ in range(20):
            await decoders.call(functions.add, 1, 2)
            with pytest.raises(DecoderDied):
                await decoders.call(functions.leave, 3)

    assert len(os.listdir("/proc/self/fd")) <= before
