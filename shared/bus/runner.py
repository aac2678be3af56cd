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

No delivery is held for the 30 minutes after which the broker takes it back: it begins within `WAITING_SECONDS` of its
coming or is deferred, its handler is stopped after `HANDLING_SECONDS` as if it had raised `RetryLater`, and after an
outage it begins anew.

When most of the last messages of several images die of one bug, it is the release that is at fault: then nothing more
is taken but one message now and then, to see whether it still dies (see `outbreak`).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from shared import deadline
from shared.bus import Bus, Consumer, Delivery, Environment, Handler, Message
from shared.bus.crash import CrashPoint
from shared.bus.envelope import Undecodable, attempt_of, decode, expired, onward, trace_of
from shared.bus.intake import Intake
from shared.bus.outbreak import WINDOW, Outbreak, signature
from shared.bus.topology import DELAYS, LANES
from shared.clock import Clock
from shared.errors import Postponed, Reject, RetryLater, Unavailable
from shared.events import Event
from shared.metrics import Family

FIRST_PROBE_SECONDS = 0.5
LONGEST_PROBE_SECONDS = 10.0
WAITING_SECONDS = 180.0
HANDLING_SECONDS = 24 * 60.0
# Of a delivery from the moment when it was begun, whatever happens to it.
HELD_SECONDS = 26 * 60.0
_LOOK_SECONDS = 30.0
# While most messages die of one bug. A broker takes back after 30 minutes what a consumer holds.
FIRST_SIT_OUT_SECONDS = 30.0
LONGEST_SIT_OUT_SECONDS = 300.0

log = structlog.get_logger()

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True)
class _Case:
    """A delivery that this service can handle, and what belongs to it."""

    delivery: Delivery
    event: Event
    handler: Handler
    environment: Environment
    line: Log


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
        self._environments = environments
        self._clock = clock
        self._grace = grace
        self._patience = patience
        self._waiting = waiting
        self._handling = handling
        self._intake = Intake()
        self._outbreak = Outbreak()
        self._messages = Family("slidemill_messages_total", "counter", "Messages that were settled, by outcome.")
        self._seconds = Family("slidemill_message_seconds_total", "counter", "Seconds that they took together.")
        self._crash = CrashPoint()

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
            await asyncio.sleep(min(_LOOK_SECONDS, self._waiting))
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
            await self._pause(pause)
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
        outcome = await self._insist(delivery, line, put_off)
        await (delivery.requeue() if outcome == "returned" else delivery.ack())
        seconds = (self._clock.now() - started).total_seconds()
        line.info("message", outcome=outcome, seconds=seconds)
        kind = {"stage": self._consumer.stage, "type": str(delivery.headers.get("ce-type"))}
        self._messages.add(1, {**kind, "outcome": outcome})
        # A clock may be set back meanwhile.
        self._seconds.add(max(0.0, seconds), kind)
        return outcome

    async def _insist(self, delivery: Delivery, line: Log, put_off: bool) -> str:
        """The outcome, as soon as everything that it needs can be reached."""
        since: datetime | None = None
        pause = FIRST_PROBE_SECONDS
        begun = time.monotonic()
        defer = False
        while True:
            try:
                return await (self._defer(delivery) if defer else self._attempt(delivery, line, put_off))
            except Unavailable as error:
                since = since or self._clock.now()
                line.warning("waiting", error=str(error))
                back = await self._until_back(since, pause, begun + HELD_SECONDS)
                # Its handler would not have all the time that it may take.
                defer = time.monotonic() - begun > self._waiting
                if not back:
                    if self._intake.stopping.is_set():
                        return "returned"
                    await delivery.requeue()
                    minutes = (self._clock.now() - since).total_seconds() / 60
                    raise Unavailable(f"Gave up after {minutes:.0f} minutes. {error}") from error
                pause = min(pause * 2, LONGEST_PROBE_SECONDS)

    async def _until_back(self, since: datetime, pause: float, end: float) -> bool:
        """Waits, and takes nothing more, until the bus and the stores answer; False if stopped or out of patience."""

        def patient() -> bool:
            return self._clock.now() - since < self._patience and time.monotonic() < end

        async with self._intake.held():
            while not self._intake.stopping.is_set() and patient():
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PROBE_SECONDS)
                try:
                    await self._bus.ready()
                    for environment in self._environments.values():
                        await environment.store.ping()
                except Unavailable as error:
                    log.warning("still waiting", stage=self._consumer.stage, error=str(error))
                else:
                    return not self._intake.stopping.is_set()
            return False

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but not past a stop."""
        tasks = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._intake.stopping.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _attempt(self, delivery: Delivery, line: Log, put_off: bool) -> str:
        """Does once whatever the delivery calls for; raises `Unavailable` where that could not be done."""
        try:
            event = decode(delivery.headers, delivery.body)
        except Undecodable as error:
            return await self._bury(delivery, "undecodable", str(error), line)
        handler = self._consumer.handlers.get(type(event))
        if handler is None:
            return await self._bury(delivery, "undecodable", f"No handler here takes {event.type}.", line)
        environment = self._environments.get(event.database)
        if environment is None:
            return await self._bury(delivery, "unserved", f"The database {event.database} is not served here.", line)
        if expired(delivery.headers, self._clock.now()):
            return "expired"
        if put_off and self._outbreak.concerns(event.type):
            return await self._defer(delivery)
        return await self._handle(_Case(delivery, event, handler, environment, line))

    async def _handle(self, case: _Case) -> str:
        stores = case.environment
        try:
            with deadline.within(self._handling):
                async with asyncio.timeout(self._handling) as limit:
                    produced = await case.handler(
                        case.event, store=stores.store, blobs=stores.blobs, tiles=stores.tiles
                    )
        except Unavailable:
            raise
        except Postponed as error:
            case.line.info("postponed", why=str(error))
            await self._bus.defer(self._consumer.stage, case.delivery, soon=True)
            return "postponed"
        except Reject as error:
            self._record(case, None)
            detail = " ".join(filter(None, (error.reason, error.remedy, error.heard)))
            return await self._give_up(case, "reject", error.reason, error.remedy, detail)
        except RetryLater as error:
            self._record(case, None)
            return await self._again(case, str(error))
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                self._record(case, None)
                return await self._again(
                    case, f"{_in_words(case.event)} took longer than {self._handling / 60:g} minutes"
                )
            case.line.exception("bug in a handler")
            self._record(case, signature(error))
            if self._outbreak.concerns(case.event.type):
                return await self._defer(case.delivery)
            return await self._again(case, f"{type(error).__name__}: {error}")
        self._record(case, None)
        await self._publish(case, produced)
        return "handled"

    def _record(self, case: _Case, bug: str | None) -> None:
        self._outbreak.record(case.event.type, case.event.correlation, bug)

    async def _defer(self, delivery: Delivery) -> str:
        await self._bus.defer(self._consumer.stage, delivery)
        return "deferred"

    async def _again(self, case: _Case, detail: str) -> str:
        retries = attempt_of(case.delivery.headers)
        if retries < len(DELAYS):
            case.line.warning("comes again", error=detail)
            await self._bus.retry(self._consumer.stage, case.delivery, retries + 1)
            return "retried"
        reason = f"It did not work in {retries + 1} tries ({detail[:300]})."
        remedy = "Retry it; if it fails again, ask the operator to look at the dead letters and the log."
        return await self._give_up(case, "retries", reason, remedy, detail)

    async def _give_up(self, case: _Case, cause: str, reason: str, remedy: str, detail: str) -> str:
        """Lets the service record the failure, and keeps the message among the dead letters."""
        try:
            facts = await self._consumer.failed(case.event, reason, remedy, store=case.environment.store)
        except Unavailable:
            raise
        except Exception:
            case.line.exception("bug in recording a failure")
            facts = []
        await self._publish(case, facts)
        await self._bus.dead_letter(self._consumer.stage, case.delivery, cause, detail)
        return "rejected" if cause == "reject" else "given up"

    async def _publish(self, case: _Case, produced: Sequence[Event]) -> None:
        self._crash.passes("before-publish")
        headers = onward(case.delivery.headers)
        caused = [one if one.cause else one.model_copy(update={"cause": case.event.id}) for one in produced]
        await self._bus.publish([Message(one, headers) for one in caused])
        self._crash.passes("after-publish")

    async def _bury(self, delivery: Delivery, cause: str, detail: str, line: Log) -> str:
        line.error("dead letter", cause=cause, detail=detail)
        await self._bus.dead_letter(self._consumer.stage, delivery, cause, detail)
        return cause


def _in_words(event: Event) -> str:
    """What a handler was at."""
    block = getattr(event, "block", None)
    return event.type if block is None else f"{event.type} of block {block}"


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
