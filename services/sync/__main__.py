"""Runs the sync service: `python -m services.sync`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from services.sync.handler import Failures, TickHandler
from services.sync.importing import ImportHandler
from services.sync.scanning import ScanHandler
from services.sync.settling import keep_looking
from shared.bus import Bus, Consumer, Handler
from shared.clock import Clock
from shared.events import Event, ImportFile, ScanStore, SyncTick
from shared.service import run_service
from shared.settings import Settings


@asynccontextmanager
async def sync(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
    """One tick, scan or file at a time: the next one finds what this one left."""
    stable = timedelta(seconds=settings.sync_stable)
    scans = ScanHandler(
        clock,
        stable=stable,
        imports=settings.sync_imports,
        most_bytes=settings.max_file_bytes,
    )
    handlers: dict[type[Event], Handler] = {
        SyncTick: TickHandler(bus, clock, timedelta(seconds=settings.superseded_grace)),
        ScanStore: scans,
        ImportFile: ImportHandler(bus, clock, reserve=settings.disk_reserve_bytes),
    }
    yield Consumer(
        stage="sync",
        handlers=handlers,
        failed=Failures(clock),
        slots=1,
        beside=lambda databases: keep_looking(databases, bus, clock, stable=stable),
    )


if __name__ == "__main__":
    run_service(Settings(), sync)
