"""The journal is read whole and in order, from any moment on; on memory and on RabbitMQ alike."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aio_pika
import pytest

from deploy.local.rabbitmq import RabbitMQ
from shared.bus import Bus, Message
from shared.bus import topology as table
from shared.bus.journal import Entry, Journal
from shared.bus.memory import MemoryBroker, MemoryBus, MemoryJournal
from shared.bus.rabbit import RabbitBus, RabbitJournal
from shared.events import ImageReady
from tests.contract.conftest import Broker


def ready(version: int) -> ImageReady:
    return ImageReady(database="slidemill", time=datetime(2026, 1, 2, tzinfo=UTC), image="ab" * 16, version=version)


@pytest.fixture
async def place(broker: Broker | None) -> AsyncIterator[tuple[Bus, Journal]]:
    if broker is None:
        memory = MemoryBroker()
        yield MemoryBus(memory), MemoryJournal(memory)
        return
    server, prefix = broker
    bus = RabbitBus(server.amqp, prefix)
    await bus.connect()
    yield bus, RabbitJournal(server.amqp, prefix)
    await bus.close()


async def entries(journal: Journal, since: datetime | None = None) -> list[Entry]:
    return [entry async for entry in journal.read(since)]


async def test_everything_is_read_in_order_from_any_moment_on(place: tuple[Bus, Journal]) -> None:
    bus, journal = place
    assert await entries(journal) == []

    await bus.publish([Message(ready(1))])
    await bus.publish([Message(ready(version)) for version in range(2, 700)])

    found = await entries(journal)
    assert [entry.event for entry in found][:1] == [ready(1)]
    assert {entry.event for entry in found} == {ready(version) for version in range(1, 700)}
    assert [entry.offset for entry in found] == list(range(699))
    assert found[0].headers["ce-id"] == ready(1).id

    now = datetime.now(UTC)
    assert len(await entries(journal, now - timedelta(hours=1))) == 699
    # Whoever asks for what is not yet sees at worst too much, never too little.
    assert len(await entries(journal, now + timedelta(days=1))) in (0, 699)


@pytest.mark.broker
async def test_what_is_no_event_is_passed_on_as_none_and_a_journal_that_was_never_made_is_empty(
    rabbitmq: RabbitMQ, prefix: str
) -> None:
    journal = RabbitJournal(rabbitmq.amqp, prefix)
    async with await aio_pika.connect(rabbitmq.amqp) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(table.events_exchange(prefix), ensure=False)
        await exchange.publish(aio_pika.Message(b"no event"), "fact.nonsense", mandatory=False)

    assert (await entries(journal))[-1].event is None
    assert await entries(RabbitJournal(rabbitmq.amqp, "nowhere")) == []
