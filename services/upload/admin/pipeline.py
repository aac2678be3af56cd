"""The pipeline at a moment: queues and workers from the broker, states and the oldest slides from MongoDB."""

import asyncio
from typing import Any, TypeVar

from services.upload.admin.graveyard import Graveyard
from shared.bus import Bus, Gauge
from shared.clock import Clock
from shared.errors import Unavailable
from shared.stages.states import STAGE_OF_STATE
from shared.store import In, Store
from shared.store.documents.uploads import Upload
from shared.store.documents.versions import Version
from shared.store.view import moment

STAGES = ("upload", "dicer", "pyramid", "sync")
# However many watch: the queues are asked for at most so often, and the states take at most this share of the time.
EVERY_SECONDS = 1.0
SHARE_OF_TIME = 0.05


class Overview:
    """What everybody who looks at the pipeline shares."""

    def __init__(self, store: Store, bus: Bus, graveyard: Graveyard, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._graveyard = graveyard
        self._clock = clock
        self._looking = asyncio.Lock()
        self._seen: tuple[float, dict[str, Any]] | None = None
        self._states: tuple[float, dict[str, Any]] | None = None

    async def look(self) -> dict[str, Any]:
        """The pipeline object, at most a second old. Raises `Unavailable` without the database only."""
        async with self._looking:
            loop = asyncio.get_running_loop()
            if self._seen is None or self._seen[0] <= loop.time():
                told = await self._look()
                # Counted from its end: who waited behind a look that took long shares it.
                self._seen = loop.time() + EVERY_SECONDS, told
            return self._seen[1]

    async def _look(self) -> dict[str, Any]:
        gauge: Gauge | None = None
        broker: str | None = None
        try:
            gauge = await self._bus.gauge()
        except Unavailable as error:
            broker = f"The broker can't be asked: {error}"
        dead = self._graveyard.counts(gauge) if gauge is not None else {}
        stages = [self._stage(stage, gauge, dead, await self._oldest(stage)) for stage in STAGES]
        run = self._graveyard.run
        return {
            "at": moment(self._clock.now()),
            **await self._counted(),
            "stages": stages,
            "delayed": dict(gauge.delayed) if gauge is not None else None,
            "broker": broker,
            "dead_work": {"action": run.action, "done": run.audited.noted} if run is not None else None,
        }

    @staticmethod
    def _stage(stage: str, gauge: Gauge | None, dead: dict[str, int], oldest: dict[str, Any] | None) -> dict[str, Any]:
        queues = gauge.stages.get(stage) if gauge is not None else None
        return {
            "stage": stage,
            "express": queues.express if queues else None,
            "bulk": queues.bulk if queues else None,
            "dead": dead.get(stage) if queues else None,
            "workers": queues.workers if queues else None,
            "oldest": oldest,
        }

    async def _oldest(self, stage: str) -> dict[str, Any] | None:
        if stage == "upload":
            under_way = {"state": In(("receiving", "importing"))}
            upload = _first(await self._store.uploads.find(under_way, sort="updated", limit=1))
            return _oldest_upload(upload) if upload is not None and upload.session else None
        states = tuple(state for state, its in STAGE_OF_STATE.items() if its == stage)
        if not states:
            return None
        version = _first(await self._store.versions.find({"state": In(states)}, sort="updated", limit=1))
        return _oldest_version(version) if version is not None else None

    async def _counted(self) -> dict[str, Any]:
        """Versions by state, and how many are superseded: a look through all of them, so it is not done each time."""
        loop = asyncio.get_running_loop()
        if self._states is None or self._states[0] <= loop.time():
            began = loop.time()
            states = {state: n for (state,), n in (await self._store.versions.tally({}, ["state"])).items()}
            superseded = max(0, sum(states.values()) - await self._store.images.count({}))
            took = loop.time() - began
            self._states = loop.time() + took / SHARE_OF_TIME, {"states": states, "superseded": superseded}
        return self._states[1]


T = TypeVar("T")


def _first(found: list[T]) -> T | None:
    return found[0] if found else None


def _oldest_upload(upload: Upload) -> dict[str, Any]:
    since = moment(upload.updated)
    return {"image": upload.image, "session": upload.session, "name": upload.name, "since": since}


def _oldest_version(version: Version) -> dict[str, Any]:
    since = moment(version.updated)
    return {"image": version.id.image, "session": version.session, "name": version.name, "since": since}
