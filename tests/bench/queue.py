"""`make bench-queue`: thousands of small slides that wait in the queue, beside a hundred that do.

The slides are distinct, drawn on the fly, and put into the database as a gateway puts them (the same records, chunk,
seal and announcement), but not sent through HTTP: what is measured begins with the queue. Meanwhile no dicer and no
pyramid runs. Then one process of each starts, beside everything else that the local stack runs.

What an image costs is the time from the beginning of the first image to the end of the last one, divided by their
number: the start of the workers is not in it, that of their decoder children is, and how long the first image took is
printed. Beside it stands processor time, of all services and servers, in the same span.
"""

import argparse
import asyncio
import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from deploy.local.layout import DATABASE, PREFIX, ROOT, SERVICES
from deploy.local.stack import Stack, run_until_signalled
from shared.blobs import owner_of
from shared.blobs.gridfs import GridFSBlobs
from shared.blobs.seal import announced, seal
from shared.bus import Message
from shared.bus import topology as table
from shared.bus.rabbit import RabbitBus
from shared.clock import SystemClock
from shared.mongo import connect
from shared.service.connecting import deployment_claim
from shared.stages.moving import appear
from shared.stages.states import STAGE_OF_STATE
from shared.store import In
from shared.store.documents.images import Session
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version
from shared.store.mongo import MongoStore
from tests.bench.smalls import SmallSlides
from tests.bench.watch import Watch

WORKERS = ("dicer", "pyramid")
FEW = 100
ROUNDS = 3
EACH = 1000
AT_ONCE = 16
CHUNK = 2**20
INTERVAL = 1.0
LINE_SECONDS = 10
# The broker counts for its management API every five seconds.
COUNTED_SECONDS = 12.0
SHARES = (0.1, 0.5, 1.0)


class WorkStack(Stack):
    """The local stack, whose workers can be away for a while."""

    async def stop_workers(self) -> None:
        """Ends them; returns once they have gone."""
        await self._supervisor.stop(WORKERS)

    async def start_workers(self) -> None:
        """Starts one process of each; returns once they are ready."""
        ports = self._ports()
        for name in WORKERS:
            self._supervisor.start(self._service(name, SERVICES[name], ports[name]))
        await self._services_ready()


class Span(NamedTuple):
    """Some images that became ready one after the other: how many, since when, and until when."""

    images: int
    start: float
    end: float

    @property
    def each(self) -> float:
        """Seconds for an image."""
        return (self.end - self.start) / self.images


def spans(begun: float, ready: Sequence[float], size: int) -> Iterator[Span]:
    """The times at which images became ready, in order, cut into spans of `size`; the last one may be shorter.

    The first span starts when work began, each other one with the last image of the one before.
    """
    for start in range(0, len(ready), size):
        end = min(start + size, len(ready))
        yield Span(end - start, ready[start - 1] if start else begun, ready[end - 1])


class Round(NamedTuple):
    """What came of one queue: when work began and each image was ready (seconds of the clock), deliveries by stage."""

    begun: float
    ready: list[float]
    versions: list[Version]
    watch: Watch
    deliveries: dict[str, int]

    def processor(self, span: Span) -> float:
        """Seconds of processor time for an image of the span, of all services and servers."""
        return sum(self.watch.seconds(span.start, span.end).values()) / span.images


class Bench:
    """The connections of one run."""

    def __init__(self, stack: WorkStack, folder: Path) -> None:
        self.stack = stack
        self._client = connect(stack.state.mongodb)
        self.store = MongoStore(self._client, DATABASE)
        self._blobs = GridFSBlobs(self._client, DATABASE, folder / "scratch", 0)
        self._bus = RabbitBus(stack.state.amqp, PREFIX)
        self._clock = SystemClock()
        self._slides = SmallSlides()

    async def open(self) -> None:
        """Connects to the broker."""
        await self._bus.connect(await deployment_claim(self.store))

    async def close(self) -> None:
        """Ends the connections."""
        await self._bus.close()
        self._client.close()

    async def fill(self, images: int) -> str:
        """Puts so many slides into the database and announces them; returns the id of their session."""
        [admin] = await self.store.accounts.find({"admin": True}, limit=1)
        session = Session(id=os.urandom(16).hex(), title="bench", owner=admin.id, created=self._clock.now())
        await self.store.sessions.insert(session)
        numbers = iter(range(images))

        async def some() -> None:
            for n in numbers:
                await self._put(n, session)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return session.id

    async def _put(self, n: int, session: Session) -> None:
        data = await asyncio.to_thread(self._slides.next)
        now = self._clock.now()
        upload = Upload(
            id=os.urandom(16).hex(),
            session=session.id,
            image=os.urandom(16).hex(),
            version=1,
            owner=session.owner,
            name=f"{n:05}.tif",
            total=len(data),
            chunk=CHUNK,
            created=now,
            updated=now,
        )
        await self.store.uploads.insert(upload)
        await self._blobs.create(
            upload.id, name=upload.name, chunk=CHUNK, refs=(owner_of(upload.image, upload.version),)
        )
        await self._blobs.put_chunk(upload.id, 0, data)
        await appear(self.store, upload, self._clock)
        fact = await seal(upload.id, store=self.store, blobs=self._blobs, database=DATABASE, clock=self._clock)
        if fact is None:
            # The gateway's relay looks for what is sealed and not announced, and was the first to see this one.
            return
        await self._bus.publish([Message(fact)])
        await announced(upload.id, self.store)

    async def round(self, images: int) -> Round:
        """Fills the queue while the workers are away, lets them empty it, and counts."""
        await self.stack.stop_workers()
        began = self._clock.now()
        before = await self._deliveries()
        session = await self.fill(images)
        seconds = (self._clock.now() - began).total_seconds()
        print(f"  {images} slides stored and announced in {seconds:.0f} s", flush=True)
        await self.stack.start_workers()
        state = self.stack.state
        pids = {part.name: part.process.pid for part in (*state.services, *state.servers) if part.process is not None}
        with Watch(pids, interval=INTERVAL) as watch:
            await self._drained()
            # One more sample after the last image.
            await asyncio.sleep(2 * INTERVAL)
        after = await self._deliveries()
        versions = await self.store.versions.find({"session": session})
        begun = min(at.timestamp() for version in versions if (at := version.stages.dice.started))
        ready = sorted(at.timestamp() for version in versions if (at := version.stages.finish.ended))
        return Round(begun, ready, versions, watch, {stage: after[stage] - before[stage] for stage in WORKERS})

    async def _drained(self) -> None:
        """Until no version is being worked on."""
        working = {"state": In(tuple(STAGE_OF_STATE))}
        left, said = await self.store.versions.count(working), self._clock.now()
        while await self.store.versions.count(working, limit=1):
            await asyncio.sleep(INTERVAL)
            if (elapsed := (self._clock.now() - said).total_seconds()) >= LINE_SECONDS:
                now_left = await self.store.versions.count(working)
                print(f"  {now_left:6} left, {(left - now_left) / elapsed:5.1f} images/s", flush=True)
                left, said = now_left, self._clock.now()

    async def _deliveries(self) -> dict[str, int]:
        """How many messages of each stage were ever delivered, as the broker counts them once it is done counting."""
        await asyncio.sleep(COUNTED_SECONDS)
        delivered = dict.fromkeys(WORKERS, 0)
        for queue in await self.queues():
            for stage in WORKERS:
                if queue["name"] in {table.stage_queue(PREFIX, stage, lane) for lane in table.LANES}:
                    delivered[stage] += queue.get("message_stats", {}).get("deliver", 0)
        return delivered

    async def queues(self) -> list[dict[str, Any]]:
        """Every queue, as the management API has it."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.stack.state.management}/api/queues", raise_for_status=True) as answer,
        ):
            found: list[dict[str, Any]] = await answer.json()
            return found


def print_costs(name: str, done: Round) -> Span:
    """One line for the whole, one for each thousand; returns the whole."""
    [whole] = spans(done.begun, done.ready, len(done.ready))
    first = f"the first one after {done.ready[0] - done.begun:.2f} s"
    print(f"{name}: {1 / whole.each:.1f} images/s, {_cost(done, whole)}; {first}", flush=True)
    parts = list(spans(done.begun, done.ready, EACH))
    for at, part in enumerate(parts if len(parts) > 1 else []):
        print(f"  from {at * EACH:6}: {1 / part.each:5.1f} images/s, {_cost(done, part)}")
    return whole


def _cost(done: Round, span: Span) -> str:
    return f"{1000 * span.each:.1f} ms an image, {1000 * done.processor(span):.1f} ms of processor time"


def print_memory(done: Round) -> None:
    """Resident megabytes of each service and server, with its children, when a tenth, half and all were ready."""
    moments = [done.ready[max(0, int(len(done.ready) * share) - 1)] for share in SHARES]
    samples = [done.watch.resident(moment) for moment in moments]
    print("resident MB, with children, when 10 %, 50 % and 100 % were ready, and at most:")
    for name, peak in done.watch.peaks.items():
        print(f"  {name:9}", *(f"{sample[name] / 1e6:6.0f}" for sample in samples), f"{peak / 1e6:6.0f}")


async def print_counts(bench: Bench, done: Round) -> None:
    """What became of the images, and what is left over."""
    states = {version.state for version in done.versions}
    counts = {state: sum(version.state == state for version in done.versions) for state in sorted(states)}
    bases = sorted({str(version.base) for version in done.versions})
    print(f"versions: {len(done.versions)}, {counts}, base {', '.join(bases)}")
    for stage, delivered in done.deliveries.items():
        print(f"deliveries: {stage} {delivered}, {delivered / len(done.versions):.3f} for an image")
    queues = await bench.queues()
    dead = sum(queue["messages"] for queue in queues if queue["name"].endswith(".dead"))
    stages = [table.stage_queue(PREFIX, stage, lane) for stage in WORKERS for lane in table.LANES]
    waiting = sum(queue["messages"] for queue in queues if queue["name"] in stages)
    print(f"left: {waiting} in the workers' queues, {dead} dead letters, {await bench.store.blocks.count({})} blocks")


async def measure(stack: WorkStack, images: int, folder: Path) -> None:
    """Both queues, and what they show."""
    bench = Bench(stack, folder)
    try:
        await bench.open()
        few = [await bench.round(FEW) for _ in range(ROUNDS)]
        costs = [(print_costs(f"{FEW} queued", done), done) for done in few]
        many = await bench.round(images)
        whole = print_costs(f"{images} queued", many)
        print_memory(many)
        await print_counts(bench, many)
        wall = whole.each / statistics.median(span.each for span, _ in costs)
        processor = many.processor(whole) / statistics.median(done.processor(span) for span, done in costs)
        print(f"cost of an image with {images} queued beside that with {FEW} (median of {ROUNDS}):")
        print(f"  {wall:.2f} of the time, {processor:.2f} of the processor time (aim: at most 1.20)")
    finally:
        await bench.close()


def main() -> None:
    """Starts a stack of its own, measures, and removes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench")
    options = parser.parse_args()
    data = options.folder / "queue"
    shutil.rmtree(data, ignore_errors=True)

    async def work(stack: Stack) -> None:
        assert isinstance(stack, WorkStack)
        await measure(stack, options.images, data)

    try:
        asyncio.run(run_until_signalled(WorkStack(data), work))
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
