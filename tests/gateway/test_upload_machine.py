"""Uploads under whatever clients, gateways and time may do to them, in any order, against a model of what must be so.

The model knows which bytes of each upload are there. What was acknowledged stays, and is what was sent;
bytes that are right are never called a conflict, and others never get in.
"""

import asyncio
import base64
import hashlib
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.sync.expiry import expire
from services.upload.core.spans import Span, joined, on_grid
from shared.blobs.memory import MemoryBlobs
from shared.blobs.pieces import tail_of
from shared.events import FileComplete
from shared.store.memory import MemoryStore
from tests.gateway.conftest import Answer, Served, content_range, look_after, md5, serve, slide

T = TypeVar("T")
CHUNK = 256 * 1024
ODD = 100_000
GRID = {CHUNK: CHUNK, ODD: 1024 * 1024}

# Ranges that begin and end near the borders of chunks, where things go wrong.
STARTS = st.builds(lambda n, off: max(0, n * CHUNK + off), st.integers(0, 11), st.sampled_from([0, 0, 0, -1, 1, 1000]))
LENGTHS = st.sampled_from([CHUNK, 4 * CHUNK, 2 * CHUNK, 1, 1000, CHUNK - 1000, CHUNK + 1, 700_000])
# An upload: mostly one that is open.
WHICH = st.integers(0, 19)
RARELY = st.sampled_from([False] * 7 + [True])


@dataclass
class Model:
    """One upload as it must be. `step` is the length of its first range; `unsaid` bytes came with no answer."""

    id: str
    session: str
    data: bytes
    step: int
    claim_is_right: bool
    held: list[Span]
    state: str = "receiving"
    unsaid: bool = False

    @property
    def total(self) -> int:
        return len(self.data)

    @property
    def chunk(self) -> int:
        return GRID[self.step]

    def holds(self, span: Span) -> bool:
        return joined([*self.held, span]) == self.held

    @property
    def whole(self) -> bool:
        return self.held == [Span(0, self.total)]


@dataclass
class House:
    """A gateway that may be replaced by another around the same stores."""

    store: MemoryStore
    blobs: MemoryBlobs
    folder: Path
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    gateway: Any = None
    published: list[FileComplete] = field(default_factory=list)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def start(self) -> None:
        self.gateway = await self.stack.enter_async_context(
            asynccontextmanager(serve)(self.store, self.blobs, self.folder)
        )

    async def stop(self) -> None:
        self.published += [event for event in await self.gateway.published() if isinstance(event, FileComplete)]
        await self.stack.aclose()


class Uploads(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        self.house = House(MemoryStore(), MemoryBlobs(folder), folder)
        self.models: list[Model] = []
        self.house.run(self.house.start())
        self.session = self.house.run(self.gateway.session())

    @property
    def gateway(self) -> Served:
        served: Served = self.house.gateway
        return served

    # What clients do

    @initialize()
    def begin_both_kinds(self) -> None:
        self.begin(seed=1, step=CHUNK, rest=4 * CHUNK + 77, right=True)
        self.begin(seed=2, step=ODD, rest=10 * CHUNK, right=True)

    @rule(
        seed=st.integers(0, 3),
        step=st.sampled_from([CHUNK, ODD]),
        rest=st.integers(1, 12 * CHUNK),
        right=st.sampled_from([True, True, True, False]),
    )
    def begin(self, seed: int, step: int, rest: int, right: bool) -> None:
        data = slide(step + rest, seed)
        claim = {} if right else {"sha256": "0" * 64}
        params = {"name": f"{len(self.models)}.svs", **claim}
        answer = self.house.run(self.gateway.send(self.session, data[:step], (0, step, len(data)), params=params))
        assert answer.status == 201, answer.text
        model = Model(answer.json["_id"], self.session, data, step, right, [Span(0, step)])
        self.models.append(model)

    @rule(which=WHICH, first=st.integers(0, 6), count=st.integers(1, 3))
    def send_whole_chunks(self, which: int, first: int, count: int) -> None:
        model = self._model(which)
        span = Span(first * model.chunk, min((first + count) * model.chunk, model.total))
        if span.start >= model.total:
            return
        self._sent(model, span, self._send(model, span))

    @rule(which=WHICH, start=STARTS, length=LENGTHS)
    def send_any_range(self, which: int, start: int, length: int) -> None:
        model = self._model(which)
        span = Span(start, min(start + length, model.total))
        if span.start < span.stop:
            self._sent(model, span, self._send(model, span))

    @rule(which=WHICH, length=st.integers(1, 2 * CHUNK))
    def go_on_where_it_ends(self, which: int, length: int) -> None:
        model = self._model(which)
        start = model.held[0].stop if model.held and model.held[0].start == 0 else 0
        if start >= model.total:
            return
        span = Span(start, min(start + length, model.total))
        self._sent(model, span, self._send(model, span))

    @rule(which=WHICH, really=RARELY)
    def resume_all_at_once(self, which: int, really: bool) -> None:
        """Asks for what is there, and sends the chunks that are wanting in parallel."""
        model = self._model(which)
        if not really:
            return
        status = self.house.run(self.gateway.status(model.session, model.id))
        there = [Span(span["start"], span["end"] + 1) for span in status["ranges"]]
        chunks = [Span(at, min(at + model.chunk, model.total)) for at in range(0, model.total, model.chunk)]
        wanting = [span for span in chunks if joined([*there, span]) != there]

        async def send() -> list[Answer]:
            return await asyncio.gather(*(self._request(model, span) for span in wanting))

        answers = self.house.run(send())
        if model.state != "receiving":
            assert {answer.status for answer in answers} <= {422 if model.state == "failed" else 410}
            return
        for span, answer in zip(wanting, answers, strict=True):
            if answer.status == 409:
                # A chunk of which a piece is stored is stored in order.
                assert "expected" in answer.json
                self._reread(model)
            else:
                assert answer.status == 200 or not model.claim_is_right, answer.text
                model.held = joined([*model.held, span])
        self._settle(model)

    @rule(which=WHICH, start=STARTS, length=LENGTHS, at=st.integers(0, CHUNK))
    def send_other_bytes(self, which: int, start: int, length: int, at: int) -> None:
        """A range that differs from what is stored in one byte, whatever else it brings."""
        model = self._model(which)
        span = Span(start, min(start + length, model.total))
        stored = [Span(max(span.start, part.start), min(span.stop, part.stop)) for part in model.held]
        stored = [part for part in stored if part.start < part.stop]
        if span.start >= span.stop or not stored:
            return
        part = stored[at % len(stored)]
        data = bytearray(model.data[span.start : span.stop])
        data[part.start - span.start + at % (part.stop - part.start)] ^= 0xFF
        answer = self._send(model, span, bytes(data))
        assert answer.status == {"receiving": 409, "complete": 409, "failed": 422}.get(model.state, 410), answer.text
        if model.state == "receiving":
            self._reread(model)

    @rule(which=WHICH, span=st.tuples(st.integers(0, 5), st.integers(1, 2)))
    def send_what_was_damaged(self, which: int, span: tuple[int, int]) -> None:
        model = self._model(which)
        sent = Span(span[0] * CHUNK, min((span[0] + span[1]) * CHUNK, model.total))
        if not (sent.start < sent.stop and model.state == "receiving"):
            return
        right = base64.b64encode(hashlib.md5(model.data[sent.start : sent.stop]).digest()).decode()
        damaged = bytes(sent.stop - sent.start)
        answer = self._send(model, sent, damaged, {"Content-MD5": right})
        assert answer.status == 422, answer.text

    @rule(which=WHICH, more=st.integers(1, CHUNK), total=st.booleans())
    def send_beyond_the_end(self, which: int, more: int, total: bool) -> None:
        model = self._model(which)
        said = model.total + more if total else model.total
        headers = {"Content-Range": f"bytes {model.total - 1}-{model.total + more - 1}/{said}"}
        answer = self.house.run(
            self.gateway.send(model.session, bytes(more + 1), headers=headers, params={"_id": model.id})
        )
        ended = {"failed": 422, "expired": 410, "cancelled": 410}
        assert answer.status == (ended.get(model.state, 400) if total else 400), answer.text

    @rule(which=WHICH, really=RARELY)
    def cancel(self, which: int, really: bool) -> None:
        model = self._model(which)
        if not really:
            return
        path = f"/api/v1/sessions/{model.session}/files/{model.id}"
        answer = self.house.run(self.gateway.ask("DELETE", path))
        assert answer.status == (409 if model.state == "complete" else 204), answer.text
        if model.state != "complete":
            model.state, model.held, model.unsaid = "cancelled", [], False

    # What gateways and time do

    @rule()
    def another_gateway_takes_over(self) -> None:
        self.house.run(self.house.stop())
        self.house.run(self.house.start())

    @rule(which=WHICH, n=st.integers(0, 5))
    def a_gateway_dies_after_storing_a_chunk(self, which: int, n: int) -> None:
        model = self._model(which)
        span = Span(n * model.chunk, min((n + 1) * model.chunk, model.total))
        if not (model.state == "receiving" and span.start < model.total):
            return
        # A piece of it is acknowledged: then a gateway would have joined it, which is another rule.
        if any(part.start < span.stop and part.stop > span.start for part in model.held):
            return
        self.house.run(self.house.blobs.put_chunk(model.id, n, model.data[span.start : span.stop]))
        model.held, model.unsaid = joined([*model.held, span]), True

    @rule()
    def another_gateway_looks_for_what_was_left(self) -> None:
        self.house.run(look_after(self.gateway, timedelta(seconds=60)))
        for model in self.models:
            self._settle(model)

    @rule(which=WHICH, really=RARELY)
    def a_day_passes(self, which: int, really: bool) -> None:
        """For one of them; the others are sent to all the time."""
        idle = {self._model(which).id} if really else set()
        clock = self.gateway.gateway.clock

        async def pass_by() -> None:
            for id in idle:
                await self.house.store.uploads.update(id, set={"updated": clock.now() - timedelta(hours=25)})
            await expire(
                self.house.store, self.house.blobs, self.gateway.bus, database="slidemill", limit=10, clock=clock
            )

        self.house.run(pass_by())
        for model in self.models:
            if model.id in idle and model.state == "receiving":
                if model.whole:
                    self._settle(model, surely=True)
                else:
                    model.state, model.held, model.unsaid = "expired", [], False

    # What must be so

    @invariant()
    def every_byte_that_was_acknowledged_is_there(self) -> None:
        for model in self.models:
            status = self.house.run(self.gateway.status(model.session, model.id))
            # One whose last range got no answer is ended by whoever asks.
            self._settle(model)
            assert [Span(span["start"], span["end"] + 1) for span in status["ranges"]] == model.held
            if status["state"] != model.state:
                assert (status["state"], model.state) == ("expired", "cancelled")
            if status["md5"]:
                assert status["md5"] == md5(model.data[: status["hashed"]])

    def teardown(self) -> None:
        self.house.run(self.house.stop())
        complete = [model for model in self.models if model.state == "complete"]
        # Two requests that end an upload at once may both announce it, in the same words.
        facts = set(self.house.published)
        assert sorted(fact.file for fact in facts) == sorted(model.id for model in complete)
        for model in self.models:
            info = self.house.run(self.house.blobs.info(model.id))
            assert bool(info and info.complete) == (model.state == "complete")
            if model.state == "complete":
                assert md5(self.house.run(self.house.blobs.read(model.id, 0, model.total))) == md5(model.data)
            if model.state != "receiving":
                assert self.house.run(self.house.blobs.chunks(tail_of(model.id))) == []
            if model.state not in ("receiving", "complete"):
                assert self.house.run(self.house.blobs.chunks(model.id)) == []
        self.house.loop.close()
        self.folder.cleanup()

    def _model(self, which: int) -> Model:
        going_on = [model for model in self.models if model.state == "receiving"]
        return going_on[which % len(going_on)] if going_on and which % 5 else self.models[which % len(self.models)]

    def _send(
        self, model: Model, span: Span, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return self.house.run(self._request(model, span, data, headers))

    async def _request(
        self, model: Model, span: Span, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        data = model.data[span.start : span.stop] if data is None else data
        said = {**content_range(span.start, span.stop, model.total), **(headers or {})}
        return await self.gateway.send(model.session, data, headers=said, params={"_id": model.id})

    def _sent(self, model: Model, span: Span, answer: Answer) -> None:
        """The right bytes of a range were sent."""
        if model.state != "receiving":
            assert answer.status == {"complete": 200, "failed": 422}.get(model.state, 410), answer.text
            return
        if answer.status == 409:
            assert "expected" in answer.json, answer.text
            assert not on_grid(span, model.chunk, model.total) or model.step == ODD or self._has_pieces(model)
            assert not model.holds(span)
            self._reread(model)
            return
        held = joined([*model.held, span])
        if held == [Span(0, model.total)] and not model.claim_is_right:
            assert answer.status == 422, answer.text
        else:
            assert answer.status == 200, answer.text
            assert answer.json["done"] == (held == [Span(0, model.total)])
        model.held = held
        self._settle(model)

    def _has_pieces(self, model: Model) -> bool:
        return bool(self.house.run(self.house.blobs.chunks(tail_of(model.id))))

    def _reread(self, model: Model) -> None:
        """A request that was refused for its order may have stored what it held before the gap."""
        status = self.house.run(self.gateway.status(model.session, model.id))
        there = [Span(span["start"], span["end"] + 1) for span in status["ranges"]]
        assert joined([*there, *model.held]) == there
        model.held = there

    def _settle(self, model: Model, *, surely: bool = False) -> None:
        """A whole upload ends with the answer to its last range; one whose gateway died, when somebody looks."""
        if model.state != "receiving" or not model.whole:
            return
        state = self.house.run(self.gateway.upload(model.id)).state
        if state == "receiving":
            assert model.unsaid
            assert not surely
            return
        model.state = "complete" if model.claim_is_right else "failed"
        model.unsaid = False
        if not model.claim_is_right:
            model.held = []


TestUploads = Uploads.TestCase
TestUploads.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
