"""Insists on a delivery through outages: keeps it, takes nothing more, and begins anew once all can be reached."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from shared.bus import Delivery
from shared.bus.handling import Handling, Log
from shared.bus.intake import Intake
from shared.bus.limits import HELD_SECONDS
from shared.errors import Unavailable

FIRST_PROBE_SECONDS = 0.5
LONGEST_PROBE_SECONDS = 10.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Insisting:
    """Sees deliveries through, whatever they need stays away for, up to `patience`.

    One that was begun longer than `waiting` seconds ago is deferred after an outage: its handler would not have all
    the time that it may take.
    """

    handling: Handling
    intake: Intake
    patience: timedelta
    waiting: float

    async def outcome(self, delivery: Delivery, line: Log, *, put_off: bool) -> str:
        """See `Handling.attempt`; `returned` if the service stops meanwhile.

        Raises `Unavailable` out of patience, having given the delivery back.
        """
        since: datetime | None = None
        pause = FIRST_PROBE_SECONDS
        begun = time.monotonic()
        defer = False
        while True:
            try:
                if defer:
                    return await self.handling.defer(delivery)
                return await self.handling.attempt(delivery, line, put_off=put_off)
            except Unavailable as error:
                since = since or self.handling.clock.now()
                line.warning("waiting", error=str(error))
                back = await self._until_back(since, pause, begun + HELD_SECONDS)
                defer = time.monotonic() - begun > self.waiting
                if not back:
                    if self.intake.stopping.is_set():
                        return "returned"
                    await delivery.requeue()
                    minutes = (self.handling.clock.now() - since).total_seconds() / 60
                    raise Unavailable(f"Gave up after {minutes:.0f} minutes. {error}") from error
                pause = min(pause * 2, LONGEST_PROBE_SECONDS)

    async def _until_back(self, since: datetime, pause: float, end: float) -> bool:
        """Waits, and takes nothing more, until the bus and the stores answer; False if stopped or out of patience."""

        def patient() -> bool:
            return self.handling.clock.now() - since < self.patience and time.monotonic() < end

        async with self.intake.held():
            while not self.intake.stopping.is_set() and patient():
                await self.intake.pause(self.handling.clock, pause)
                pause = min(pause * 2, LONGEST_PROBE_SECONDS)
                try:
                    await self.handling.bus.ready()
                    for environment in self.handling.environments.values():
                        await environment.store.ping()
                except Unavailable as error:
                    log.warning("still waiting", stage=self.handling.consumer.stage, error=str(error))
                else:
                    return not self.intake.stopping.is_set()
            return False
