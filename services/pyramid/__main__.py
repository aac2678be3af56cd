"""Runs the pyramid service: `python -m services.pyramid`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.pyramid.handler import Pyramid
from shared.bus import Bus, Consumer
from shared.clock import Clock
from shared.decoding import Decoders
from shared.events import BaseDiced, FoldBlock, ImageReady, PyramidBuilt
from shared.service.consuming import run_service
from shared.settings import Settings

CHILD_MEMORY = 2**30


@asynccontextmanager
async def pyramid(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
    """The handlers with their decoder children."""
    slots = settings.pyramid_slots
    async with Decoders(preload="services.pyramid.pixels", children=slots, memory=CHILD_MEMORY) as decoders:
        handlers = Pyramid(decoders=decoders, clock=clock, worker=settings.service)
        yield Consumer(
            stage="pyramid",
            handlers={
                BaseDiced: handlers.base_diced,
                FoldBlock: handlers.fold_block,
                PyramidBuilt: handlers.pyramid_built,
                ImageReady: handlers.image_ready,
            },
            failed=handlers.failed,
            # Reading a block and securing what became of it take as long as decoding it, during which a child should
            # have another one to do.
            slots=slots + 3,
        )


if __name__ == "__main__":
    run_service(Settings(), pyramid)
