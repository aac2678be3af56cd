"""Runs the dicer: `python -m services.dicer`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.dicer.folding import Turns
from services.dicer.handler import Dicer
from shared.bus import Bus, Consumer
from shared.clock import Clock
from shared.decoding import Decoders
from shared.events import DiceBlock, FileComplete
from shared.service.consuming import run_service
from shared.settings import Settings

CHILD_MEMORY = 3 * 2**29


@asynccontextmanager
async def dicer(settings: Settings, clock: Clock, bus: Bus) -> AsyncIterator[Consumer]:
    """The handlers with their decoder children."""
    slots = settings.dicer_slots
    async with Decoders(preload="services.dicer.pixels", children=slots, memory=CHILD_MEMORY) as decoders:
        handlers = Dicer(
            decoders=decoders,
            clock=clock,
            quality=settings.quality,
            subsampling=settings.subsampling,
            worker=settings.service,
            turns=Turns(slots),
            unpacked_bytes=min(settings.unpacked_bytes, settings.scratch_bytes),
        )
        yield Consumer(
            stage="dicer",
            handlers={FileComplete: handlers.file_complete, DiceBlock: handlers.dice_block},
            failed=handlers.failed,
            # One handler more than children: it reads and writes while the others wait for their tiles to be secured.
            slots=slots + 1,
        )


if __name__ == "__main__":
    run_service(Settings(), dicer)
