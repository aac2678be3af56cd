"""Looks every few seconds for what a crash left behind: uploads not completed or announced, images standing still."""

import asyncio
from datetime import timedelta

import structlog

from services.upload.intake import Intake
from services.upload.tus.joining import Joining
from shared.blobs import Blobs
from shared.blobs.seal import relay
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Unavailable
from shared.repair import reissue
from shared.store import Store

EVERY_SECONDS = 5.0
# A living gateway gets on with a verification well within this time.
STALE = timedelta(seconds=20)
STANDING_STILL = timedelta(seconds=40)
MOST_IMAGES = 100
log = structlog.get_logger()


class Relay:
    """Every gateway runs one; several at once do each thing once, or do it again without harm."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        bus: Bus,
        intake: Intake,
        joining: Joining,
        clock: Clock,
        database: str,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._bus = bus
        self._intake = intake
        self._joining = joining
        self._clock = clock
        self._database = database

    async def run(self) -> None:
        """Looks until it is cancelled; an error of one look never ends it."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.look()
            except Unavailable as error:
                log.warning("relay waits", error=str(error))
            except Exception:
                log.exception("relay failed")

    async def look(self) -> None:
        """Does once whatever is wanting."""
        await self._intake.resume()
        await self._joining.resume()
        await relay(self._store, self._blobs, self._bus, database=self._database, clock=self._clock, stale=STALE)
        await reissue(
            self._store,
            self._bus,
            database=self._database,
            since=STANDING_STILL,
            limit=MOST_IMAGES,
            clock=self._clock,
        )
