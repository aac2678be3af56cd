"""The message bus's port: what a service asks of a broker, in no broker's words."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.blobs import Blobs
from shared.events import Event, Lane
from shared.metrics import Family
from shared.store import Store
from shared.tiles import Tiles


@dataclass(frozen=True)
class Environment:
    """The three stores of the database that a delivery's event names."""

    store: Store
    blobs: Blobs
    tiles: Tiles


class Handler(Protocol):
    """Answers one event with the events that MongoDB shows are still wanting. Neither publishes nor acks."""

    async def __call__(self, event: Any, *, store: Store, blobs: Blobs, tiles: Tiles) -> list[Event]:
        """Raises `Unavailable`, `RetryLater` or `Reject`; anything else is a bug."""
        ...


class FailureHandler(Protocol):
    """Records that an event came to nothing; returns the facts to publish (`image-failed`)."""

    async def __call__(self, event: Any, reason: str, remedy: str, *, store: Store) -> list[Event]:
        """Called after a Reject, or when the last retry failed, before the delivery is dead-lettered."""
        ...


@dataclass(frozen=True)
class Consumer:
    """What one service consumes: its stage's queues and a handler per event type.

    `beside` is what it does meanwhile, on the served databases by name, until it is cancelled. `metrics` is what it
    tells of them besides what is counted of its messages.
    """

    stage: str
    handlers: Mapping[type[Event], Handler]
    failed: FailureHandler
    slots: int
    beside: Callable[[Mapping[str, Environment]], Coroutine[Any, Any, None]] | None = None
    metrics: Callable[[Mapping[str, Environment]], Awaitable[Sequence[Family]]] | None = None


@dataclass(frozen=True)
class Message:
    """An event on its way: `headers` carry attempt, replay and trace context."""

    event: Event
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageQueues:
    """How much waits in a stage's queues; what a worker holds does not count. `workers` are processes that consume."""

    express: int
    bulk: int
    dead: int
    workers: int


@dataclass(frozen=True)
class Gauge:
    """The queues of every stage, None where no worker ever ran here, and what waits in each delay for any of them."""

    stages: Mapping[str, StageQueues | None]
    delayed: Mapping[str, int]


class Delivery(Protocol):
    """One message held by a consumer until it is acked or given back."""

    body: bytes
    headers: Mapping[str, Any]
    lane: Lane
    redelivered: bool

    async def ack(self) -> None:
        """Done with it. On a connection that has gone this is no error: the message comes again."""
        ...

    async def requeue(self) -> None:
        """Gives it back to the queue."""
        ...


class Bus(Protocol):
    """Publishing with proof, consuming by lane, and the little a repair must know about queues."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns once the broker has confirmed every one (pipelined, mandatory, bounded wait), else `Unavailable`."""
        ...

    async def publish_to(self, stage: str, lane: Lane, messages: Sequence[Message]) -> None:
        """Straight to one stage's queue, past the exchange of facts: for replays and re-issues."""
        ...

    async def retry(self, stage: str, delivery: Delivery, attempt: int) -> None:
        """Puts a copy into the delay queue of this attempt (1: 10 s, 2: 1 min, 3: 10 min); confirmed on return."""
        ...

    async def defer(self, stage: str, delivery: Delivery, *, soon: bool = False) -> None:
        """Puts a copy into the delay queue of a minute, or `soon` of 10 s, without counting it as tried; confirmed on
        return."""
        ...

    async def dead_letter(self, stage: str, delivery: Delivery, cause: str, detail: str) -> None:
        """Puts a copy with the reason into the stage's dead-letter queue; confirmed on return."""
        ...

    async def consume(self, stage: str, lane: Lane, prefetch: int, take: Callable[[Delivery], Awaitable[None]]) -> None:
        """Declares and binds the stage's own queue and calls `take` for each delivery. Survives a broker restart."""
        ...

    async def stop_consuming(self) -> None:
        """No more deliveries; the unacked ones stay ours until they are acked or `close` is called."""
        ...

    async def depth(self, stage: str) -> int:
        """Messages ready in the stage's queues, both lanes, and in the delays; unacked ones do not count.

        All stages share the delays, so this errs on the side of waiting while another stage's message is delayed.
        """
        ...

    async def gauge(self) -> Gauge:
        """What waits where, at this moment. Raises `Unavailable`."""
        ...

    async def ready(self) -> None:
        """Raises `Unavailable` unless connected, not blocked and every consumer is registered."""
        ...

    async def close(self) -> None:
        """Closes consuming, then publishing."""
        ...
