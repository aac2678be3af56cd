"""The table of queues: who gets what, and the limits without which a broker loses messages."""

from collections.abc import Iterator

import pytest

from docs.generate import asyncapi
from shared.bus import topology as table
from shared.events import EVENTS, Event, FileComplete, Lane


def every_key() -> Iterator[tuple[type[Event], str]]:
    for event in EVENTS.values():
        if "lane" in event.model_fields:
            yield event, f"{event.route}.express"
        else:
            yield event, event.route
        yield event, f"{event.route}.bulk"


def takers(key: str) -> list[str]:
    binding = table.Binding("p.events", key)
    return [queue.name for queue in table.queues("p") if binding in queue.bindings]


@pytest.mark.parametrize(("event", "key"), list(every_key()), ids=lambda value: value if isinstance(value, str) else "")
def test_an_event_has_one_queue_of_each_stage_that_consumes_it(event: type[Event], key: str) -> None:
    lane: Lane = "bulk" if key.endswith(".bulk") else "express"

    assert takers(key) == [f"p.{stage}.{lane}" for stage, events in table.STAGES.items() if event in events]


def test_only_facts_are_in_the_journal() -> None:
    journal = next(queue for queue in table.queues("p") if queue.name == "p.journal")

    assert journal.bindings == (table.Binding("p.events", "fact.#"),)
    assert journal.arguments["x-queue-type"] == "stream"


def test_every_stage_queue_can_be_reached_by_its_own_name() -> None:
    names = {table.stage_queue("p", stage, lane) for stage in table.STAGES for lane in table.LANES}

    reached = {queue.name for queue in table.queues("p") if table.Binding("p.stages", queue.name) in queue.bindings}
    assert reached == names


@pytest.mark.parametrize(
    "queue", [one for one in table.queues("p") if one.name != "p.journal"], ids=lambda one: one.name
)
def test_dead_lettering_is_safe_and_bounded(queue: table.Queue) -> None:
    """At-least-once needs all three; with drop-head a broker falls back to at-most-once without a word."""
    arguments = queue.arguments

    assert arguments["x-queue-type"] == "quorum"
    assert arguments["x-overflow"] == "reject-publish"
    assert arguments["x-max-length"] > 0
    if "x-dead-letter-exchange" in arguments:
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-dead-letter-exchange"] in {exchange.name for exchange in table.exchanges("p")}


def test_stage_queues_say_their_delivery_limit_and_where_the_dead_go() -> None:
    for stage in table.STAGES:
        dead, *lanes = table.stage_queues("p", stage)
        assert dead.bindings == (table.Binding("p.dead", stage),)
        for lane in lanes:
            assert lane.arguments["x-delivery-limit"] == 50
            assert lane.arguments["x-dead-letter-routing-key"] == stage


def test_retries_wait_ten_seconds_a_minute_and_ten_minutes() -> None:
    waits = [
        queue.arguments["x-message-ttl"] for queue in table.shared_queues("p") if "x-message-ttl" in queue.arguments
    ]

    assert waits == [10_000, 60_000, 600_000]
    assert [table.delay_seconds(attempt) for attempt in (1, 2, 3)] == [10, 60, 600]


def test_the_document_describes_every_event_and_queue_and_refers_to_nothing_that_is_missing() -> None:
    document = asyncapi()

    assert {message["name"] for message in document["components"]["messages"].values()} == set(EVENTS)
    queues = {
        channel["address"] for channel in document["channels"].values() if channel["bindings"]["amqp"]["is"] == "queue"
    }
    assert queues == {queue.name for queue in table.queues("slidemill")}
    assert FileComplete.__name__ in document["components"]["schemas"]
    for reference in _references(document):
        node: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(node, dict), reference
            assert part in node, reference
            node = node[part]


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield str(value)
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
