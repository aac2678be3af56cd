"""Two timers and two sync services, each killed at random, while a folder fills: nothing is lost, nothing done twice.

`SLIDEMILL_KILL_SECONDS` says for how long they are killed (`make chaos`: two minutes), `SLIDEMILL_KILL_SEED` by which
chances; the test prints it.
"""

import asyncio
import hashlib
import os
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.local.ports import free_port
from shared.bus.rabbit import RabbitBus
from shared.clock import SystemClock
from shared.service.connecting import deployment_claim
from shared.store.documents.entries import EntryId
from shared.store.documents.folders import FolderStore
from shared.store.mongo import MongoStore
from tests.sync.place import Place, until
from tests.sync.watching import OWNER, STORE, slide

SECONDS = float(os.environ.get("SLIDEMILL_KILL_SECONDS", "9"))
SEED = int(os.environ.get("SLIDEMILL_KILL_SEED", random.randrange(10**6)))
MODULES = ("services.sync", "services.sync", "services.sync.timer", "services.sync.timer")
# A service needs about two seconds to start on a machine that does other things as well.
LIVES = (0.5, 6.0)
PAUSE = 0.25
LARGE = 9 * 2**20

pytestmark = [pytest.mark.broker, pytest.mark.timeout(SECONDS + 150)]


class Scanner:
    """Writes slides into a folder, some at once, some slowly, and renames and replaces some."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root = root
        self.chance = chance
        self.content: dict[str, bytes] = {}
        self.made = 0

    async def work(self, until: float) -> None:
        while time.monotonic() < until:
            await self.chance.choice((self.put, self.put, self.put, self.write_slowly, self.rename, self.replace))()
            await asyncio.sleep(self.chance.uniform(0, 2 * PAUSE))

    def _slide(self) -> tuple[str, bytes]:
        self.made += 1
        size = LARGE if self.chance.random() < 0.2 else self.chance.randrange(600, 100_000)
        return f"case {self.made % 3}/{self.made}.svs", slide(str(self.made), size)

    async def put(self) -> None:
        """As a copying program does that knows its trade: under another name first."""
        path, content = self._slide()
        self._write(path, content)

    def _write(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_bytes(content)
        part.rename(file)
        self.content[path] = content

    async def write_slowly(self) -> None:
        path, content = self._slide()
        (self.root / path).parent.mkdir(exist_ok=True)
        with (self.root / path).open("wb", buffering=0) as file:
            for n in range(0, len(content), len(content) // 3):
                file.write(content[n : n + len(content) // 3])
                await asyncio.sleep(PAUSE)
        self.content[path] = content

    async def rename(self) -> None:
        if self.content:
            old = self.chance.choice(sorted(self.content))
            new = f"{old.removesuffix('.svs')}x.svs"
            (self.root / old).rename(self.root / new)
            self.content[new] = self.content.pop(old)

    async def replace(self) -> None:
        if self.content:
            self._write(self.chance.choice(sorted(self.content)), self._slide()[1])


class Mortal:
    """A service that is killed at random and started again, until it is left alone."""

    def __init__(self, place: Place, module: str, chance: random.Random) -> None:
        self.place = place
        self.module = module
        self.chance = chance
        self.kills = 0

    async def live(self, until: float, spared: asyncio.Event) -> None:
        port = free_port()
        while True:
            process = await self.place.start(self.module, port)
            try:
                left = until - time.monotonic()
                if left <= 0:
                    await spared.wait()
                    process.terminate()
                    assert 0 == await process.wait()
                    return
                await asyncio.sleep(min(self.chance.uniform(*LIVES), left))
                assert process.returncode is None, f"{self.module} ended by itself"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            self.kills += 1
            await asyncio.sleep(self.chance.uniform(0, PAUSE))


async def process(store: MongoStore) -> None:
    """What dicer and pyramid would do: a changed file waits for it."""
    for version in await store.versions.find({"state": "dicing"}):
        await store.versions.update(version.id, when={"state": "dicing"}, set={"state": "ready"})


async def each_due_tick_was_done_once_or_is_missed(store: MongoStore) -> Counter[str]:
    ticks = {tick.due: tick for tick in await store.ticks.find({})}
    done = [due for due, tick in ticks.items() if tick.done]
    outcomes = Counter[str]()
    due = min(done)
    while due <= max(done):
        assert due in ticks, f"{due} is neither done nor missed"
        assert ticks[due].done is not ticks[due].missed, ticks[due]
        outcomes["done" if ticks[due].done else "missed"] += 1
        due += timedelta(seconds=1)
    for due in sorted(done)[-50:]:
        # Older reports go. A tick that is done twice would not make two, but it would say so in its log.
        assert 1 == await store.reports.count({"tick": due.isoformat()})
    return outcomes


async def every_file_was_taken_in_once(place: Place, scanner: Scanner) -> Counter[str]:
    store = place.store
    versions = await store.versions.find({})
    assert max(Counter(version.sha256 for version in versions).values()) == 1, "a file was imported twice"
    assert len(versions) == await store.uploads.count({}) == await store.uploads.count({"announced": True})
    for path, content in scanner.content.items():
        sha256 = hashlib.sha256(content).hexdigest()
        entry = await store.entries.get(EntryId(store=STORE, path=path))
        assert entry is not None
        assert ("imported", sha256) == (entry.state, entry.sha256), path
        image = await store.images.get(entry.image)
        assert image is not None
        assert (path.rpartition("/")[2], f"store:scanner/{path}", None) == (
            image.name,
            image.source,
            image.source_vanished,
        )
        (version,) = [one for one in versions if one.sha256 == sha256]
        assert (image.id, image.latest) == (version.id.image, version.id.n)
        info = await place.blobs.info(version.file)
        assert info is not None
        assert (True, True) == (info.complete, version.state in ("dicing", "ready"))
        assert content == await place.blobs.read(version.file, 0, len(content) + 1)
    shown = await store.images.count({"source_vanished": None})
    assert len(scanner.content) == shown
    return Counter(version.state for version in versions)


async def test_whoever_is_killed_every_tick_is_done_or_missed_and_every_file_taken_in_once(
    place: Place, tmp_path: Path
) -> None:
    root = tmp_path / "slides"
    root.mkdir()
    place.environment |= {"SLIDEMILL_SYNC_STABLE": "1", "SLIDEMILL_SYNC_SLOTS": "2"}
    await place.store.prepare()
    await place.store.stores.insert(
        FolderStore(id=STORE, name="scanner", root=str(root), owner=OWNER, created=SystemClock().now())
    )
    chance = random.Random(SEED)
    scanner = Scanner(root, random.Random(SEED))
    mortals = [Mortal(place, module, random.Random(chance.random())) for module in MODULES]
    until_when, spared = time.monotonic() + SECONDS, asyncio.Event()
    async with AsyncExitStack() as ending, asyncio.TaskGroup() as lives:
        ending.callback(spared.set)
        for mortal in mortals:
            lives.create_task(mortal.live(until_when, spared))
        await scanner.work(until_when)
        quiet = SystemClock().now()

        async def all_taken_in() -> bool:
            await process(place.store)
            for path, content in scanner.content.items():
                entry = await place.store.entries.get(EntryId(store=STORE, path=path))
                if entry is None or entry.sha256 != hashlib.sha256(content).hexdigest() or entry.state != "imported":
                    return False
            going_on = await place.store.reports.find({"state": "done"}, sort="order", limit=1)
            return bool(going_on) and going_on[0].started > quiet

        await until(all_taken_in, "every file is taken in")
        spared.set()

    outcomes = await each_due_tick_was_done_once_or_is_missed(place.store)
    states = await every_file_was_taken_in_once(place, scanner)
    bus = RabbitBus(place.amqp, place.name)
    await bus.connect(await deployment_claim(place.store))
    try:
        gauge = (await bus.gauge()).stages["sync"]
    finally:
        await bus.close()
    assert gauge is not None
    assert 0 == gauge.dead
    kills = Counter[str]()
    for mortal in mortals:
        kills[mortal.module.rpartition(".")[2]] += mortal.kills
    assert min(kills.values()) > 1
    print(
        f"\nseed {SEED}: {dict(kills)} killed; ticks: {dict(outcomes)}; "
        f"{len(scanner.content)} files in the end, versions: {dict(states)}"
    )
