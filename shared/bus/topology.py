"""Every exchange, queue and binding of slidemill on a broker, in one pure table.

    {prefix}.events    topic    facts (`fact.NAME`) and work (`work.NAME.LANE`); replays end in `.bulk`
      -> {prefix}.STAGE.express, {prefix}.STAGE.bulk    quorum queues, one pair per stage
      -> {prefix}.journal                               stream of every fact, and of facts only: were work in it too,
                                                        a work message without a consumer would look delivered
    {prefix}.stages    direct   each stage queue under its own name: retries, replays, re-issues
    {prefix}.delay.N   fanout   one queue each, whose messages go on to {prefix}.stages when their time is over
    {prefix}.dead      direct   one dead-letter queue per stage, {prefix}.STAGE.dead, under the stage's name
    {prefix}.claim.ID           says which deployment this prefix belongs to

Limits are part of the table: without an explicit delivery limit newer brokers drop a message at its 20th return, and
dead-lettering is only safe with `at-least-once`, which needs `reject-publish` and a length limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.events import (
    BaseDiced,
    DiceBlock,
    Event,
    FileComplete,
    FoldBlock,
    ImageReady,
    ImportFile,
    Lane,
    PyramidBuilt,
    ScanStore,
    SyncTick,
)

LANES: tuple[Lane, ...] = ("express", "bulk")
DELIVERY_LIMIT = 50
MOST_MESSAGES = 500_000
MOST_DEAD = 1_000_000
# Looking at a dead letter and putting it back counts as a delivery: never a reason to lose it.
DEAD_DELIVERY_LIMIT = 1_000_000
JOURNAL_BYTES = 2 * 10**9
JOURNAL_SEGMENT_BYTES = 50 * 10**6

# Seconds before the first, second and third retry, in order.
DELAYS: dict[str, int] = {"10s": 10, "1min": 60, "10min": 600}
# Which of them a message waits in that is put off without being counted as tried, and one that is needed soon.
DEFERRAL = 2
POSTPONEMENT = 1

# Who consumes what. Events that name a lane themselves are routed by it, the others are express work.
STAGES: dict[str, tuple[type[Event], ...]] = {
    "dicer": (FileComplete, DiceBlock),
    "pyramid": (BaseDiced, FoldBlock, PyramidBuilt, ImageReady),
    "sync": (SyncTick, ScanStore, ImportFile),
}


@dataclass(frozen=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: Literal["topic", "direct", "fanout"]


@dataclass(frozen=True)
class Binding:
    """Messages of `exchange` whose key matches `key` go to the queue."""

    exchange: str
    key: str


@dataclass(frozen=True)
class Queue:
    """A durable queue with its arguments and bindings."""

    name: str
    arguments: Mapping[str, Any]
    bindings: tuple[Binding, ...] = field(default=())


def events_exchange(prefix: str) -> str:
    """Where facts and work are published."""
    return f"{prefix}.events"


def stages_exchange(prefix: str) -> str:
    """Where a message goes to one stage's queue, by the queue's name."""
    return f"{prefix}.stages"


def dead_exchange(prefix: str) -> str:
    """Where dead letters go, by the stage's name."""
    return f"{prefix}.dead"


def delay_name(prefix: str, attempt: int) -> str:
    """The exchange, and the queue, in which a message waits before its retry number `attempt`, from 1."""
    return delay_names(prefix)[attempt - 1]


def delay_names(prefix: str) -> list[str]:
    """Those of every delay, the shortest first."""
    return [f"{prefix}.delay.{name}" for name in DELAYS]


def stage_queue(prefix: str, stage: str, lane: Lane) -> str:
    """One stage's queue of one lane."""
    return f"{prefix}.{stage}.{lane}"


def dead_queue(prefix: str, stage: str) -> str:
    """One stage's dead-letter queue."""
    return f"{prefix}.{stage}.dead"


def journal_queue(prefix: str) -> str:
    """The stream of facts."""
    return f"{prefix}.journal"


def claim_exchange(prefix: str, claim: str) -> str:
    """The exchange whose existence says that the prefix belongs to the deployment of this id."""
    return f"{prefix}.claim.{claim}"


def delay_seconds(attempt: int) -> int:
    """How long a message waits before its retry number `attempt`, from 1."""
    return list(DELAYS.values())[attempt - 1]


def route(event: Event, *, replay: bool) -> str:
    """The event's key on the exchange of events; a replay goes behind everything else, to the bulk queues."""
    return f"{event.route}.bulk" if replay else event.routing_key


def keys(event: type[Event], lane: Lane) -> tuple[str, ...]:
    """The keys under which a stage's queue of this lane gets the event."""
    if lane == "bulk":
        return (f"{event.route}.bulk",)
    return (f"{event.route}.express",) if "lane" in event.model_fields else (event.route,)


def exchanges(prefix: str) -> list[Exchange]:
    """Every exchange but the claim."""
    return [
        Exchange(events_exchange(prefix), "topic"),
        Exchange(stages_exchange(prefix), "direct"),
        Exchange(dead_exchange(prefix), "direct"),
        *(Exchange(name, "fanout") for name in delay_names(prefix)),
    ]


def shared_queues(prefix: str) -> list[Queue]:
    """The queues that belong to no stage: journal and delays."""
    journal = Queue(
        journal_queue(prefix),
        {
            "x-queue-type": "stream",
            "x-max-length-bytes": JOURNAL_BYTES,
            "x-stream-max-segment-size-bytes": JOURNAL_SEGMENT_BYTES,
        },
        (Binding(events_exchange(prefix), "fact.#"),),
    )
    return [
        journal,
        *(
            Queue(
                name,
                {
                    "x-queue-type": "quorum",
                    "x-message-ttl": seconds * 1000,
                    "x-dead-letter-exchange": stages_exchange(prefix),
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                    "x-max-length": MOST_MESSAGES,
                },
                (Binding(name, ""),),
            )
            for name, seconds in zip(delay_names(prefix), DELAYS.values(), strict=True)
        ),
    ]


def stage_queues(prefix: str, stage: str) -> list[Queue]:
    """One stage's own queues: its dead letters, then its lanes."""
    dead = Queue(
        dead_queue(prefix, stage),
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": DEAD_DELIVERY_LIMIT,
            "x-overflow": "reject-publish",
            "x-max-length": MOST_DEAD,
        },
        (Binding(dead_exchange(prefix), stage),),
    )
    return [dead, *(_lane_queue(prefix, stage, lane) for lane in LANES)]


def _lane_queue(prefix: str, stage: str, lane: Lane) -> Queue:
    name = stage_queue(prefix, stage, lane)
    return Queue(
        name,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": dead_exchange(prefix),
            "x-dead-letter-routing-key": stage,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-max-length": MOST_MESSAGES,
        },
        (
            Binding(stages_exchange(prefix), name),
            *(Binding(events_exchange(prefix), key) for event in STAGES[stage] for key in keys(event, lane)),
        ),
    )


def queues(prefix: str) -> list[Queue]:
    """Every queue."""
    return [*shared_queues(prefix), *(queue for stage in STAGES for queue in stage_queues(prefix, stage))]


def queues_for(prefix: str, event: type[Event], *, replay: bool = False, lane: Lane | None = None) -> list[str]:
    """The stage queues that an event reaches through the exchange of events; `lane` is the event's own, if it has one.

    What the bindings say, worked out here for the memory bus and for documentation.
    """
    key = f"{event.route}.bulk" if replay else f"{event.route}.{lane}" if lane else event.route
    return [
        queue.name
        for stage in STAGES
        for queue in stage_queues(prefix, stage)
        if Binding(events_exchange(prefix), key) in queue.bindings
    ]
