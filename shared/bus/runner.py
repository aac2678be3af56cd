"""Takes deliveries, runs handlers, publishes what they return, and only then acks: a crash repeats, never loses.

What becomes of a delivery:

    handled        what the handler returned is published and confirmed
    retried        `RetryLater`, or a bug: comes again after 10 s, 1 min, 10 min, then is given up
    given up       the last retry failed: `failed` tells the image's owner, and it is dead-lettered
    rejected       `Reject`: the same at once
    undecodable    no event of ours, or none that this stage handles: dead-lettered
    postponed      `Postponed`: comes again in 10 s, without being counted as tried
    deferred       comes again in a minute, likewise: the same bug kills most messages, or it was held for too long
    unserved       about a database that this deployment does not serve: dead-lettered
    expired        said itself that nobody needs it any more
    returned       the service stopped before it could be handled

`Unavailable` is none of these: the delivery is kept, nothing more is taken until the stores and the broker answer
again, and then the handler runs anew.

Here are the slots, and what waits for them; what is done with a delivery is in `handling`, how it outlasts an outage in
`outage`, and how long it is held at most in `limits`.

When most of the last messages of several images die of one bug, it is the release that is at fault: then nothing more
is taken but one message now and then, to see whether it still dies (see `outbreak`).
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog

from shared.bus import Bus, Consumer, Delivery, Environment
from shared.bus.envelope import Undecodable, attempt_of, decode, trace_of
from shared.bus.handling import Handling
from shared.bus.intake import Intake
from shared.bus.limits import HANDLING_SECONDS, LOOK_SECONDS, WAITING_SECONDS
from shared.bus.outage import Insisting
from shared.bus.outbreak import WINDOW, Outbreak
from shared.bus.topology import LANES
from shared.clock import Clock
from shared.errors import Unavailable
from shared.metrics import Family

# While most messages die of one bug. A broker takes back after 30 minutes what a consumer holds.
FIRST_SIT_OUT_SECONDS = 30.0
LONGEST_SIT_OUT_SECONDS = 300.0

log = structlog.get_logger()


class Runner:
    """Runs one consumer until it is stopped.

    `environments` are the served databases by name, `grace` the seconds that running handlers get when it stops,
    `patience` how long a delivery is kept while something is unavailable. A delivery waits for its handler for
    `waiting` seconds, which takes at most `handling`.
    """

    def __init__(
        self,
        bus: Bus,
        consumer: Consumer,
        environments: Mapping[str, Environment],
        clock: Clock,
        *,
        grace: float = 20.0,
        patience: timedelta = timedelta(minutes=20),
        waiting: float = WAITING_SECONDS,
        handling: float = HANDLING_SECONDS,
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._clock = clock
        self._grace = grace
        self._waiting = waiting
        self._intake = Intake()
        self._outbreak = Outbreak()
        at_work = Handling(bus, consumer, environments, clock, self._outbreak, handling)
        self._insisting = Insisting(at_work, self._intake, patience, waiting)
        self._messages = Family("slidemill_messages_total", "counter", "Messages that were settled, by outcome.")
        self._seconds = Family("slidemill_message_seconds_total", "counter", "Seconds that they took together.")

    async def run(self, stop: asyncio.Event) -> None:
        """Consumes until `stop` is set, then ends in order: no more deliveries, the running handlers finish.

        Raises `Unavailable` if a dependency stayed away for longer than `patience`, and what broke a slot otherwise;
        in both cases its deliveries go back to the queue once the bus is closed.
        """
        for lane in LANES:
            await self._bus.consume(self._consumer.stage, lane, self._consumer.slots, self._intake.put)
        slots = [asyncio.create_task(self._serve(number)) for number in range(self._consumer.slots)]
        stopped = asyncio.create_task(stop.wait())
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([stopped, *slots], return_when=asyncio.FIRST_COMPLETED)
            await self._wind_down(slots)
        finally:
            for task in (stopped, watching, *slots):
                task.cancel()
            await asyncio.wait([stopped, watching, *slots])
        for slot in slots:
            if not slot.cancelled():
                slot.result()

    async def ready(self) -> None:
        """Raises `Unavailable` while a bug that kills most messages keeps it from taking any."""
        if self._outbreak.bug is not None:
            raise Unavailable(
                f"Paused: {self._outbreak.deaths} of the last {WINDOW} messages of a kind died of one bug, "
                f"{self._outbreak.bug}. Deploy a release without it; nothing is lost meanwhile."
            )

    async def metrics(self) -> Sequence[Family]:
        """What became of messages in this process."""
        return [self._messages, self._seconds]

    async def _wind_down(self, slots: list[asyncio.Task[None]]) -> None:
        # First of all: what is given back to a broker that still delivers to us comes again at once, and each return
        # counts against its limit.
        await self._bus.stop_consuming()
        await self._intake.stop()
        _, late = await asyncio.wait(slots, timeout=self._grace)
        if late:
            log.warning("handlers did not end in time, their messages go back", stage=self._consumer.stage, n=len(late))

    async def _serve(self, slot: int) -> None:
        while (delivery := await self._intake.next(slot)) is not None:
            await self._settle(delivery)
            if self._outbreak.bug is not None and not self._intake.is_alone:
                async with self._intake.alone():
                    await self._sit_out(slot)

    async def _watch(self) -> None:
        """Puts off what has waited for long because all slots are at long work: others may have a slot for it."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._waiting))
            for delivery in self._intake.overdue(self._waiting):
                try:
                    await self._bus.defer(self._consumer.stage, delivery)
                    await delivery.ack()
                except Unavailable:
                    await delivery.requeue()

    async def _sit_out(self, slot: int) -> None:
        """Waits for an outbreak to end, trying one message of the dying kind after each pause."""
        pause = FIRST_SIT_OUT_SECONDS
        while self._outbreak.bug is not None:
            log.error("paused", stage=self._consumer.stage, bug=self._outbreak.bug, seconds=pause)
            await self._intake.pause(self._clock, pause)
            pause = min(pause * 2, LONGEST_SIT_OUT_SECONDS)
            outcome = ""
            while self._outbreak.bug is not None and outcome != "deferred":
                delivery = await self._intake.next(slot, alone=True)
                if delivery is None:
                    return
                outcome = await self._settle(delivery)
            if self._outbreak.bug is not None:
                await self._defer_waiting()
        log.info("goes on", stage=self._consumer.stage)

    async def _defer_waiting(self) -> None:
        """Holds nothing of the dying kind from one pause to the next: the broker would take it back, and count that."""
        for delivery in self._intake.drain():
            await self._settle(delivery, put_off=True)

    async def _settle(self, delivery: Delivery, *, put_off: bool = False) -> str:
        """Sees one delivery through, whatever it takes, and writes its line in the log; returns the outcome.

        With `put_off`, what is of a dying kind is deferred untried.
        """
        line = log.bind(stage=self._consumer.stage, **_described(delivery))
        started = self._clock.now()
        outcome = await self._insisting.outcome(delivery, line, put_off=put_off)
        await (delivery.requeue() if outcome == "returned" else delivery.ack())
        seconds = (self._clock.now() - started).total_seconds()
        line.info("message", outcome=outcome, seconds=seconds)
        kind = {"stage": self._consumer.stage, "type": str(delivery.headers.get("ce-type"))}
        self._messages.add(1, {**kind, "outcome": outcome})
        # A clock may be set back meanwhile.
        self._seconds.add(max(0.0, seconds), kind)
        return outcome


def _described(delivery: Delivery) -> dict[str, Any]:
    """What the log says about a delivery."""
    headers = delivery.headers
    about: dict[str, Any] = {"image": headers.get("ce-subject"), "version": None}
    with suppress(Undecodable):
        event = decode(headers, delivery.body)
        about = {"image": event.correlation, "version": getattr(event, "version", None)}
    return {
        **about,
        "type": headers.get("ce-type"),
        "id": headers.get("ce-id"),
        "lane": delivery.lane,
        "attempt": attempt_of(headers) + 1,
        "redelivered": delivery.redelivered,
        "trace_id": trace_of(headers),
    }
