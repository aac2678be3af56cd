"""Does once whatever a delivery calls for: decodes it, runs its handler, publishes what that returns.

Nothing is acked here: `runner` does that once it has the outcome.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from shared import deadline
from shared.bus import Bus, Consumer, Delivery, Environment, Handler, Message
from shared.bus.crash import CrashPoint
from shared.bus.envelope import Undecodable, attempt_of, decode, expired, onward
from shared.bus.outbreak import Outbreak, signature
from shared.bus.topology import DELAYS
from shared.clock import Clock
from shared.errors import Postponed, Reject, RetryLater, Unavailable
from shared.events import Event

Log = structlog.typing.FilteringBoundLogger


@dataclass(frozen=True)
class _Case:
    """A delivery that this service can handle, and what belongs to it."""

    delivery: Delivery
    event: Event
    handler: Handler
    environment: Environment
    line: Log


@dataclass(frozen=True)
class Handling:
    """What one consumer does with its deliveries.

    `environments` are the served databases by name, `seconds` the longest that a handler may take. `outbreak` hears how
    every handler ended.
    """

    bus: Bus
    consumer: Consumer
    environments: Mapping[str, Environment]
    clock: Clock
    outbreak: Outbreak
    seconds: float
    _crash: CrashPoint = field(default_factory=CrashPoint)

    async def attempt(self, delivery: Delivery, line: Log, *, put_off: bool) -> str:
        """The outcome (see `runner`); raises `Unavailable` where what it takes could not be done.

        With `put_off`, what is of a dying kind is deferred untried.
        """
        try:
            event = decode(delivery.headers, delivery.body)
        except Undecodable as error:
            return await self._bury(delivery, "undecodable", str(error), line)
        handler = self.consumer.handlers.get(type(event))
        if handler is None:
            return await self._bury(delivery, "undecodable", f"No handler here takes {event.type}.", line)
        environment = self.environments.get(event.database)
        if environment is None:
            return await self._bury(delivery, "unserved", f"The database {event.database} is not served here.", line)
        if expired(delivery.headers, self.clock.now()):
            return "expired"
        if put_off and self.outbreak.concerns(event.type):
            return await self.defer(delivery)
        return await self._handle(_Case(delivery, event, handler, environment, line))

    async def defer(self, delivery: Delivery) -> str:
        """Lets it come again in a minute, uncounted."""
        await self.bus.defer(self.consumer.stage, delivery)
        return "deferred"

    async def _handle(self, case: _Case) -> str:
        stores = case.environment
        try:
            with deadline.within(self.seconds):
                async with asyncio.timeout(self.seconds) as limit:
                    produced = await case.handler(
                        case.event, store=stores.store, blobs=stores.blobs, tiles=stores.tiles
                    )
        except Unavailable:
            raise
        except Postponed as error:
            case.line.info("postponed", why=str(error))
            await self.bus.defer(self.consumer.stage, case.delivery, soon=True)
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
                    case, f"{_in_words(case.event)} took longer than {self.seconds / 60:g} minutes"
                )
            case.line.exception("bug in a handler")
            self._record(case, signature(error))
            if self.outbreak.concerns(case.event.type):
                return await self.defer(case.delivery)
            return await self._again(case, f"{type(error).__name__}: {error}")
        self._record(case, None)
        await self._publish(case, produced)
        return "handled"

    def _record(self, case: _Case, bug: str | None) -> None:
        self.outbreak.record(case.event.type, case.event.correlation, bug)

    async def _again(self, case: _Case, detail: str) -> str:
        retries = attempt_of(case.delivery.headers)
        if retries < len(DELAYS):
            case.line.warning("comes again", error=detail)
            await self.bus.retry(self.consumer.stage, case.delivery, retries + 1)
            return "retried"
        reason = f"It did not work in {retries + 1} tries ({detail[:300]})."
        remedy = "Retry it; if it fails again, ask the operator to look at the dead letters and the log."
        return await self._give_up(case, "retries", reason, remedy, detail)

    async def _give_up(self, case: _Case, cause: str, reason: str, remedy: str, detail: str) -> str:
        """Lets the service record the failure, and keeps the message among the dead letters."""
        try:
            facts = await self.consumer.failed(case.event, reason, remedy, store=case.environment.store)
        except Unavailable:
            raise
        except Exception:
            case.line.exception("bug in recording a failure")
            facts = []
        await self._publish(case, facts)
        await self.bus.dead_letter(self.consumer.stage, case.delivery, cause, detail)
        return "rejected" if cause == "reject" else "given up"

    async def _publish(self, case: _Case, produced: Sequence[Event]) -> None:
        self._crash.passes("before-publish")
        headers = onward(case.delivery.headers)
        caused = [one if one.cause else one.model_copy(update={"cause": case.event.id}) for one in produced]
        await self.bus.publish([Message(one, headers) for one in caused])
        self._crash.passes("after-publish")

    async def _bury(self, delivery: Delivery, cause: str, detail: str, line: Log) -> str:
        line.error("dead letter", cause=cause, detail=detail)
        await self.bus.dead_letter(self.consumer.stage, delivery, cause, detail)
        return cause


def _in_words(event: Event) -> str:
    """What a handler was at."""
    block = getattr(event, "block", None)
    return event.type if block is None else f"{event.type} of block {block}"
