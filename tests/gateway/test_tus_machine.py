"""tus uploads under whatever clients, lines and gateways may do to them, in any order, against a model of the offset.

What was acknowledged stays, nothing but what was sent gets in, and the file arrives once.
"""

import asyncio
import base64
import hashlib
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from services.upload.app import BYTES_IN_FLIGHT
from shared.blobs.memory import MemoryBlobs
from shared.blobs.pieces import tail_of
from shared.events import FileComplete
from shared.store.memory import MemoryStore
from tests.gateway.conftest import Answer, Served, serve, sha256, slide
from tests.gateway.test_tus_takeover import Line, patching
from tests.gateway.tus import begin, id_of, offset_of, patch

T = TypeVar("T")
CHUNK = 256 * 1024
# Around the borders of chunks, where things go wrong.
LENGTHS = st.sampled_from([1, 1000, 100_000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
GATEWAY = st.integers(0, 1)


class Uploads(RuleBasedStateMachine):
    """One upload, two gateways. Of its bytes `offset` are acknowledged, and at most `sent` may be there."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.blobs = MemoryBlobs(Path(self.folder.name))
        self.stack = AsyncExitStack()
        self.lines = AsyncExitStack()
        self.gateways: list[Served] = []
        self.offset = self.sent = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    @initialize(length=st.integers(4 * CHUNK, 9 * CHUNK), deferred=st.booleans(), seed=st.integers(0, 3))
    def start(self, length: int, deferred: bool, seed: int) -> None:
        self.data, self.deferred = slide(length, seed), deferred

        async def start() -> None:
            store = MemoryStore()
            for _ in range(2):
                serving = asynccontextmanager(serve)(store, self.blobs, Path(self.folder.name))
                self.gateways.append(await self.stack.enter_async_context(serving))
            self.session = await self.gateways[0].session()
            said = {"headers": {"Upload-Defer-Length": "1"}} if deferred else {}
            self.place = await begin(self.gateways[0], self.session, None if deferred else length, **said)

        self.run(start())

    @property
    def open(self) -> bool:
        return self.offset < len(self.data) - 1

    def _bytes(self, length: int) -> bytes:
        # Never the last one, which the end of the test brings.
        return self.data[self.offset : min(self.offset + length, len(self.data) - 1)]

    def _patched(self, answer: Answer, data: bytes) -> None:
        if answer.status == 409:
            # Only bytes that came with no answer may have moved the offset.
            assert self.sent > self.offset
            self.ask(0)
            return
        assert answer.status == 204, answer.text
        assert int(answer.headers["Upload-Offset"]) == self.offset + len(data)
        self.offset += len(data)
        self.sent = max(self.sent, self.offset)

    @precondition(lambda self: self.open)
    @rule(at=GATEWAY, length=LENGTHS, checked=st.booleans())
    def send(self, at: int, length: int, checked: bool) -> None:
        data = self._bytes(length)
        digest = base64.b64encode(hashlib.sha1(data).digest()).decode()
        headers = {"Upload-Checksum": f"sha1 {digest}"} if checked else {}
        self._patched(self.run(patch(self.gateways[at], self.place, self.offset, data, headers=headers)), data)

    @precondition(lambda self: self.open)
    @rule(at=GATEWAY, length=LENGTHS)
    def send_what_is_damaged_on_its_way(self, at: int, length: int) -> None:
        headers = {"Upload-Checksum": f"sha1 {base64.b64encode(bytes(20)).decode()}"}
        answer = self.run(patch(self.gateways[at], self.place, self.offset, self._bytes(length), headers=headers))
        assert answer.status == 460 or (answer.status == 409 and self.sent > self.offset), answer.text

    @precondition(lambda self: self.open)
    @rule(at=GATEWAY, length=LENGTHS, hangs=st.booleans())
    def send_over_a_line_that_breaks_or_hangs(self, at: int, length: int, hangs: bool) -> None:
        data = self._bytes(length)
        rest = len(self.data) - self.offset

        async def send() -> None:
            line: Line = await self.lines.enter_async_context(
                patching(self.gateways[at], self.place, self.offset, rest)
            )
            await line.send(data)
            if not hangs:
                line.writer.close()

        self.run(send())
        self.sent = max(self.sent, self.offset + len(data))

    @rule(at=GATEWAY)
    def ask(self, at: int) -> None:
        offset = self.run(offset_of(self.gateways[at], self.place))
        assert self.offset <= offset <= self.sent
        self.offset = offset

    @rule(at=GATEWAY, away=st.sampled_from([-1, 1, 100_000]))
    def send_from_elsewhere(self, at: int, away: int) -> None:
        offset = max(0, self.offset + away)
        if self.offset == self.sent and offset != self.offset:
            answer = self.run(patch(self.gateways[at], self.place, offset, b"x"))
            assert answer.status == 409, answer.text

    @rule(at=GATEWAY)
    def send_nothing(self, at: int) -> None:
        self._patched(self.run(patch(self.gateways[at], self.place, self.offset, b"")), b"")

    @precondition(lambda self: self.offset > 0)
    @rule()
    def a_gateway_dies_before_it_notes_a_chunk(self) -> None:
        upload = self.run(self.gateways[0].upload(id_of(self.place)))
        n = self.offset // upload.chunk
        stop = (n + 1) * upload.chunk
        if stop < len(self.data):
            self.run(self.blobs.put_chunk(upload.id, n, self.data[n * upload.chunk : stop]))
            self.sent = max(self.sent, stop)

    @precondition(lambda self: self.offset > 0)
    @rule(length=LENGTHS)
    def a_gateway_dies_before_it_notes_a_piece(self, length: int) -> None:
        upload = self.run(self.gateways[0].upload(id_of(self.place)))
        border = (upload.stored // upload.chunk + 1) * upload.chunk
        data = self.data[upload.stored : min(upload.stored + length, border, len(self.data)) - 1]
        if data:
            self.run(self.gateways[0].gateway.intake.holding.begin(upload, upload.stored, data))
            self.sent = max(self.sent, upload.stored + len(data))

    def teardown(self) -> None:
        try:
            if self.gateways:
                self.run(self._finish())
        finally:
            self.run(self._close())
            # The server reads on for a while what comes of a request that was answered early.
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.wait(left))
            self.loop.close()
            self.folder.cleanup()

    async def _finish(self) -> None:
        gateway, id = self.gateways[1], id_of(self.place)
        offset = await offset_of(gateway, self.place)
        assert self.offset <= offset <= self.sent
        headers = {"Upload-Length": str(len(self.data))} if self.deferred else {}
        answer = await patch(gateway, self.place, offset, self.data[offset:], headers=headers)
        if answer.status == 409:
            offset = await offset_of(gateway, self.place)
            answer = await patch(gateway, self.place, offset, self.data[offset:], headers=headers)
        assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(len(self.data))), answer.text
        await self.lines.aclose()
        upload = await gateway.upload(id)
        assert (upload.state, upload.stored, upload.sha256) == ("complete", len(self.data), sha256(self.data))
        async with asyncio.timeout(20):
            while any(served.gateway.intake.budget.free < BYTES_IN_FLIGHT for served in self.gateways):
                await asyncio.sleep(0.005)
            while await self.blobs.chunks(tail_of(id)):
                await asyncio.sleep(0.005)
        events = [event for served in self.gateways for event in await served.published()]
        assert [(type(event), event.sha256) for event in events if isinstance(event, FileComplete)] == [
            (FileComplete, sha256(self.data))
        ]
        assert len(events) == 1

    async def _close(self) -> None:
        await self.lines.aclose()
        await self.stack.aclose()


TestUploads = Uploads.TestCase
TestUploads.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
