"""Runs the sync service: `python -m services.sync`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from services.sync.handler import Failures, TickHandler
from services.sync.importing import ImportHandler
from services.sync.room import Bounds
from services.sync.scanning import ScanHandler
from services.sync.settling import keep_looking
from shared.bus import Bus, Consumer, Handler
from shared.clock import Clock
from shared.events import Event, ImportFile, ScanStore, SyncTick
from shared.service.consuming import run_service
from shared.settings import Settings

# As the gateway's: by default a thread that wants the interpreter waits 5 ms for another, longer than a chunk takes.
SWITCH_SECONDS = 0.0005


@asynccontextmanager
async def sync(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
    """Several files at once, so that a large one keeps no tick waiting."""
    stable = timedelta(seconds=settings.sync_stable)
    scans = ScanHandler(
        clock,
        stable=stable,
        imports=settings.sync_imports,
        most_bytes=settings.max_file_bytes,
    )
    imports = ImportHandler(
        bus,
        clock,
        bounds=Bounds(settings.disk_reserve_bytes, settings.account_bytes),
        bytes_per_second=settings.sync_bytes_per_second,
    )
    handlers: dict[type[Event], Handler] = {
        SyncTick: TickHandler(bus, clock, timedelta(seconds=settings.superseded_grace)),
        ScanStore: scans,
        ImportFile: imports,
    }
    yield Consumer(
        stage="sync",
        handlers=handlers,
        failed=Failures(clock),
        slots=settings.sync_slots,
        metrics=imports.counted.families,
        beside=lambda databases: keep_looking(databases, bus, clock, stable=stable),
    )


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_SECONDS)
    run_service(Settings(), sync)
