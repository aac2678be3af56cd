"""A small real service for tests: answers `file-complete` with `base-diced` and says on standard output what it does.

It is a process of its own, so that it can be killed, stopped and crashed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.blobs import Blobs
from shared.bus import Bus, Consumer
from shared.clock import Clock
from shared.events import BaseDiced, Event, FileComplete
from shared.service.consuming import run_service
from shared.settings import Settings
from shared.store import Store
from shared.tiles import Tiles
from shared.tiles.geometry import Geometry

GEOMETRY = Geometry(width=10, height=10, tile=256)


async def answer(event: FileComplete, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
    return [
        BaseDiced(
            database=event.database,
            time=event.time,
            image=event.image,
            version=event.version,
            geometry=GEOMETRY,
            base="copied",
        )
    ]


async def failed(event: Any, reason: str, remedy: str, *, store: Store) -> list[Event]:
    return []


@asynccontextmanager
async def echo(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
    yield Consumer("dicer", {FileComplete: answer}, failed, settings.dicer_slots)


if __name__ == "__main__":
    run_service(Settings(), echo)
