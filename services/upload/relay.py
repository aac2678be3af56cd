"""Looks every few seconds for what a crash left behind: uploads not completed or announced, images standing still."""

import asyncio
from datetime import timedelta

import structlog

from services.upload.gateway import Gateway
from shared.blobs.relay import relay
from shared.bus import Bus
from shared.errors import Unavailable
from shared.repair import reissue

EVERY_SECONDS = 5.0
# A living gateway gets on with a verification well within this time.
STALE = timedelta(seconds=20)
STANDING_STILL = timedelta(seconds=40)
MOST_IMAGES = 100
log = structlog.get_logger()


class Relay:
    """Every gateway runs one; several at once do each thing once, or do it again without harm."""

    def __init__(self, gateway: Gateway, bus: Bus, database: str) -> None:
        self._store = gateway.store
        self._blobs = gateway.blobs
        self._bus = bus
        self._intake = gateway.intake
        self._joining = gateway.joining
        self._removing = gateway.removing
        self._clock = gateway.clock
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
        self._removing.sweep()
        await self._intake.ending.resume()
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
