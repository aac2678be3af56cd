"""Dead letters: read without harm, grouped, sent again, thrown away, put back; on memory and on RabbitMQ alike."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import aio_pika
import pytest

from deploy.local.rabbitmq import RabbitMQ
from shared import dead
from shared.audit import Audited
from shared.bus import Bus, Delivery, Message
from shared.bus import topology as table
from shared.bus.envelope import CAUSE, DEATH, DETAIL, REPLAY, REPLAY_REASON, REPLAYED_BY, STAGE, encode
from shared.bus.envelope import dead as died
from shared.bus.letters import DeadLetters, Letter
from shared.bus.memory import MemoryBroker, MemoryBus, MemoryDeadLetters
from shared.bus.rabbit import RabbitBus, RabbitDeadLetters
from shared.clock import ManualClock
from shared.dead import Selection
from shared.errors import Unavailable
from shared.events import DiceBlock, FileComplete
from shared.store.documents.images import Image
from shared.store.documents.versions import Failure, Stage, Stages, Version, VersionId
from shared.store.memory import MemoryStore
from tests import events
from tests.contract.conftest import Broker
from tests.contract.test_bus import Inbox
from tests.events import NOW, dice_block, image_id

PATIENCE = 30.0
EVERYTHING = Selection(everything=True)


def file_complete(number: int = 1) -> FileComplete:
    return events.file_complete(image=image_id(number), name=f"Niere {number}.svs")


@dataclass
class Place:
    """A broker's dead letters, a bus beside them, and the database."""

    letters: DeadLetters
    bus: Bus
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))

    async def bury(self, event: Any, detail: str = "It broke.", cause: str = "retries", *, later: int = 0) -> None:
        headers, body = encode(Message(event))
        moment = NOW + timedelta(seconds=later)
        await self.letters.bury("dicer", died(headers, stage="dicer", cause=cause, detail=detail, now=moment), body)

    async def lying(self, selection: Selection = EVERYTHING) -> list[Letter]:
        return [letter async for letter in dead.select(self.letters, selection)]

    async def retry(self, selection: Selection = EVERYTHING, audited: Audited | None = None) -> int:
        return await dead.retry(
            self.letters,
            self.bus,
            selection,
            stores={"slidemill": self.store},
            audited=audited or self.audited("dead-retry"),
            clock=self.clock,
        )

    async def bring_back(self, *letters: tuple[str, Letter], again: bool = False) -> int:
        return await dead.bring_back(
            self.letters,
            self.bus,
            letters,
            again=again,
            stores={"slidemill": self.store},
            audited=self.audited("dead-import"),
            clock=self.clock,
        )

    def audited(self, action: str) -> Audited:
        return Audited(self.store, self.clock, action=action, by="ada@lab", reason="mended", selection={"all": True})

    async def received(self, count: int) -> list[Any]:
        """What the dicer gets; the letters that are sent again travel in bulk."""
        inbox = Inbox()
        await self.bus.consume("dicer", "bulk", 100, inbox.take)
        return await inbox.first(count)

    async def put_version(self, number: int = 1, *, state: str = "failed", latest: int = 1) -> VersionId:
        id = VersionId(image=image_id(number), n=1)
        await self.store.images.insert(Image(id=id.image, session="5" * 32, name="a.svs", latest=latest, created=NOW))
        await self.store.versions.insert(
            Version(
                id=id,
                session="5" * 32,
                file="f" * 32,
                name="a.svs",
                length=7,
                md5="0" * 32,
                sha256="0" * 64,
                state=state,
                stages=Stages(upload=Stage(started=NOW, ended=NOW)),
                failure=Failure(stage="dice", reason="It broke.", remedy="Mend it.") if state == "failed" else None,
                created=NOW,
                updated=NOW,
            )
        )
        return id


async def empty_queues(server: RabbitMQ, prefix: str) -> None:
    async with await aio_pika.connect(server.amqp) as connection:
        channel = await connection.channel()
        for queue in table.queues(prefix):
            if queue.name != table.journal_queue(prefix):
                await (await channel.get_queue(queue.name, ensure=False)).purge()


@pytest.fixture
async def place(broker: Broker | None) -> AsyncIterator[Place]:
    if broker is None:
        memory = MemoryBroker(ManualClock(NOW))
        yield Place(MemoryDeadLetters(memory), MemoryBus(memory))
        return
    server, prefix = broker
    bus = RabbitBus(server.amqp, prefix)
    await bus.connect()
    yield Place(RabbitDeadLetters(server.amqp, prefix, bus), bus)
    await bus.close()
    await empty_queues(server, prefix)


async def test_letters_are_grouped_by_what_they_died_of(place: Place) -> None:
    await place.bury(file_complete(1), "Niere 1.svs is a text file. Send a slide.", "reject")
    await place.bury(file_complete(2), "Niere 2.svs is a text file. Send a slide.", "reject", later=5)
    await place.bury(file_complete(3), "ZeroDivisionError: division by zero", later=9)

    groups = await dead.groups(place.letters, EVERYTHING)

    assert [(group.count, group.example.cause, group.first, group.last) for group in groups] == [
        (2, "reject", "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:10.678Z"),
        (1, "retries", "2026-01-02T03:04:14.678Z", "2026-01-02T03:04:14.678Z"),
    ]
    assert groups[0].example.event == file_complete(2)
    assert await dead.groups(place.letters, Selection(everything=True, stage="pyramid")) == []
    assert len(await place.lying(Selection(names=frozenset({groups[0].example.group})))) == 2
    assert len(await place.lying(Selection(names=frozenset({groups[0].example.id})))) == 1


async def test_looking_does_no_harm_however_often_and_however_it_is_broken_off(place: Place) -> None:
    for number in range(3):
        await place.bury(file_complete(number))
    first = await place.lying()

    for _ in range(60):
        async with aclosing(dead.select(place.letters, EVERYTHING)) as letters:
            await anext(letters)

    assert {letter.id for letter in await place.lying()} == {letter.id for letter in first}
    assert {letter.event for letter in first} == {file_complete(number) for number in range(3)}


async def test_a_letter_that_is_sent_again_has_all_its_tries_and_says_who_and_why(place: Place) -> None:
    headers, body = encode(Message(file_complete(), {"x-slidemill-attempt": 3}))
    await place.letters.bury("dicer", died(headers, stage="dicer", cause="retries", detail="!", now=NOW), body)
    audited = place.audited("dead-retry")

    assert await place.retry(audited=audited) == 1

    (delivery,) = await place.received(1)
    assert delivery.body == body
    assert {name: delivery.headers.get(name) for name in ("ce-id", REPLAY, REPLAYED_BY, REPLAY_REASON)} == {
        "ce-id": file_complete().id,
        REPLAY: audited.run,
        REPLAYED_BY: "ada@lab",
        REPLAY_REASON: "mended",
    }
    assert not {CAUSE, DETAIL, STAGE, DEATH, "x-slidemill-attempt"} & delivery.headers.keys()
    assert await place.lying() == []
    (audit,) = await place.store.audits.find({})
    assert (audit.action, audit.by, audit.reason, audit.run) == ("dead-retry", "ada@lab", "mended", audited.run)
    assert file_complete().image in audit.subjects[0]


async def test_one_letter_or_one_group_leaves_the_others_where_they_are(place: Place) -> None:
    await place.bury(file_complete(1), "one")
    await place.bury(file_complete(2), "two")
    await place.bury(file_complete(3), "two")
    one, two, three = sorted(await place.lying(), key=lambda letter: letter.image or "")

    assert await place.retry(Selection(names=frozenset({two.id}))) == 1
    assert {letter.id for letter in await place.lying()} == {one.id, three.id}
    assert await place.retry(Selection(names=frozenset({three.group}))) == 1
    assert [letter.id for letter in await place.lying()] == [one.id]


async def test_an_image_that_had_failed_truly_goes_on(place: Place) -> None:
    """Its other blocks' messages are gone: the fact is sent from which all open work follows, once."""
    id = await place.put_version()
    await place.bury(dice_block(7, image=id.image))

    assert await place.retry() == 1

    version = await place.store.versions.get(id)
    assert version is not None
    assert (version.state, version.failure) == ("dicing", None)
    (delivery,) = await place.received(1)
    assert delivery.headers["ce-type"] == FileComplete.type
    assert delivery.headers[REPLAY]


@pytest.mark.parametrize(("state", "latest"), [("ready", 1), ("dicing", 1), ("failed", 2)])
async def test_what_has_not_failed_or_is_superseded_keeps_its_state(place: Place, state: str, latest: int) -> None:
    id = await place.put_version(state=state, latest=latest)
    event = dice_block(7, image=id.image)
    await place.bury(event)
    before = await place.store.versions.get(id)

    await place.retry()

    assert await place.store.versions.get(id) == before
    (delivery,) = await place.received(1)
    assert DiceBlock.model_validate_json(delivery.body) == event


@pytest.mark.parametrize("step", ["send", "remove", "note"])
async def test_a_retry_that_is_broken_off_loses_nothing(
    place: Place, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await place.bury(file_complete(number))

    class Broken(BaseException):
        """As a kill: nothing may catch it."""

    def breaking(owner: object, name: str, after: int) -> None:
        work: Callable[..., Any] = getattr(owner, name)
        calls = 0

        async def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == after:
                raise Broken
            return await work(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    audited = place.audited("dead-retry")
    if step == "remove":
        async with aclosing(place.letters.each("dicer")) as letters:
            held = await anext(letters)
        original = type(held).remove
        calls = 0

        async def remove(self: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise Broken
            await original(self)

        monkeypatch.setattr(type(held), "remove", remove)
    else:
        breaking(place.letters if step == "send" else audited, step, 2)

    with suppress(Broken):
        await place.retry(audited=audited)
    monkeypatch.undo()

    assert len(await place.lying()) == 2
    assert await place.retry() == 2
    sent = 3 if step != "remove" else 4
    deliveries = await place.received(sent)
    assert {FileComplete.model_validate_json(one.body) for one in deliveries} == {file_complete(n) for n in range(3)}


async def test_what_is_discarded_stays_in_the_audit(place: Place) -> None:
    await place.bury(file_complete(), "a.svs is a text file.", "reject")

    assert await dead.discard(place.letters, EVERYTHING, audited=place.audited("dead-discard")) == 1

    assert await place.lying() == []
    (audit,) = await place.store.audits.find({})
    assert audit.action == "dead-discard"
    assert "reject: a.svs is a text file." in audit.subjects[0]


async def test_nothing_is_noted_where_nothing_is_done(place: Place) -> None:
    assert await place.retry() == 0
    assert await place.store.audits.count({}) == 0


async def test_a_mended_letter_takes_the_place_of_the_one_it_was(place: Place) -> None:
    broken, body = encode(Message(file_complete()))
    content = {name: value for name, value in json.loads(body).items() if name != "length"}
    headers = died(broken, stage="dicer", cause="undecodable", detail="length: Field required", now=NOW)
    await place.letters.bury("dicer", headers, json.dumps(content).encode())
    (letter,) = await place.lying()
    assert letter.event is None
    mended = replace(letter, body=json.dumps({**content, "length": 7}).encode())

    assert await place.bring_back((letter.id, mended)) == 1
    assert [one.event for one in await place.lying()] == [file_complete()]
    # Once more: it is there as it is.
    assert await place.bring_back((letter.id, mended)) == 0
    assert len(await place.lying()) == 1

    assert await place.bring_back((mended.id, mended), again=True) == 1
    assert await place.lying() == []
    (delivery,) = await place.received(1)
    assert FileComplete.model_validate_json(delivery.body) == file_complete()


async def test_letters_can_be_carried_to_a_broker_that_never_had_them(place: Place) -> None:
    await place.bury(file_complete())
    (letter,) = await place.lying()
    await dead.discard(place.letters, EVERYTHING, audited=place.audited("dead-discard"))

    assert await place.bring_back((letter.id, letter)) == 1

    assert [one.id for one in await place.lying()] == [letter.id]


@pytest.mark.broker
async def test_what_the_broker_itself_gave_up_says_so(rabbitmq: RabbitMQ, prefix: str) -> None:
    bus = RabbitBus(rabbitmq.amqp, prefix)
    await bus.connect()
    place = Place(RabbitDeadLetters(rabbitmq.amqp, prefix, bus), bus)
    event = dice_block(7)

    await give_back(bus, table.DELIVERY_LIMIT + 1, event)
    letters: list[Letter] = []
    async with asyncio.timeout(PATIENCE):
        while not letters:
            letters = await place.lying()

    assert (letters[0].cause, letters[0].stage, letters[0].event) == ("delivery-limit", "dicer", event)
    assert letters[0].first is not None
    await bus.close()
    with pytest.raises(Unavailable):
        await place.letters.send("dicer", {}, b"")
    await empty_queues(rabbitmq, prefix)


async def give_back(bus: RabbitBus, times: int, event: DiceBlock) -> None:
    """Takes the event and gives it back as often as that."""
    given = asyncio.Semaphore(0)

    async def take(delivery: Delivery) -> None:
        await delivery.requeue()
        given.release()

    await bus.consume("dicer", "bulk", 1, take)
    await bus.publish_to("dicer", "bulk", [Message(event)])
    async with asyncio.timeout(PATIENCE):
        for _ in range(times):
            await given.acquire()
