"""Runs the sync service: `python -m services.sync`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from services.sync.handler import TickHandler, tick_failed
from shared.bus import Bus, Consumer
from shared.clock import Clock
from shared.events import SyncTick
from shared.service import run_service
from shared.settings import Settings


@asynccontextmanager
async def sync(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
    """One tick at a time: the next one finds what this one left."""
    ticks = TickHandler(bus, clock, timedelta(seconds=settings.superseded_grace))
    yield Consumer(stage="sync", handlers={SyncTick: ticks}, failed=tick_failed, slots=1)


if __name__ == "__main__":
    run_service(Settings(), sync)
