"""What no part of slidemill would send: poison, and messages that were there before, again and in any order."""

import asyncio
import base64
import json
import random
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aio_pika

from deploy.local.layout import PREFIX
from shared.bus import Message
from shared.bus import topology as table
from shared.bus.rabbit import RabbitBus, RabbitJournal
from shared.errors import Unavailable
from shared.events import BaseDiced, FileComplete
from shared.replay import answering

SECONDS = 20.0
LARGE = 10_000_000
MOST_DOUBLED = 10


class Pest:
    """Sends at the broker's own address, past the proxies. `poison` is every body that the broker has confirmed."""

    def __init__(self, amqp: str, rng: random.Random) -> None:
        self.poison: set[bytes] = set()
        self._amqp = amqp
        self._random = rng

    def send_poison(self) -> bool:
        """One poisonous message to some stage; False if the broker is away just now."""
        kind = self._random.choice(list(KINDS))
        headers, body = KINDS[kind](uuid.uuid4().hex)
        stage = self._random.choice(list(table.STAGES))
        return self._try(self._put(table.stage_queue(PREFIX, stage, "express"), headers, body))

    def send_again(self) -> bool:
        """Some facts of the journal, shuffled, each to the stage that answers it; False if the broker is away."""
        return self._try(self._double())

    def _try(self, work: Any) -> bool:
        async def bounded() -> None:
            async with asyncio.timeout(SECONDS):
                await work

        try:
            asyncio.run(bounded())
        except (OSError, TimeoutError, RuntimeError, Unavailable, aio_pika.exceptions.AMQPError):
            return False
        return True

    async def _put(self, queue: str, headers: dict[str, Any], body: bytes) -> None:
        async with await aio_pika.connect(self._amqp, timeout=5) as connection:
            channel = await connection.channel(on_return_raises=True)
            message = aio_pika.Message(body, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, queue)
        self.poison.add(body)

    async def _double(self) -> None:
        facts = [entry.event async for entry in RabbitJournal(self._amqp, PREFIX).read() if entry.event is not None]
        chosen = [self._random.choice(facts) for _ in range(MOST_DOUBLED)] if facts else []
        bus = RabbitBus(self._amqp, PREFIX)
        await bus.connect()
        try:
            for fact in chosen:
                stage = answering(fact)
                if stage is not None:
                    await bus.publish_to(stage, self._random.choice(table.LANES), [Message(fact), Message(fact)])
        finally:
            await bus.close()


def short_of_disk(management: str) -> bool:
    """Whether the broker at this management address has raised its alarm; raises OSError if it does not answer."""
    address = urlsplit(management)
    credentials = base64.b64encode(f"{address.username}:{address.password}".encode()).decode()
    request = urllib.request.Request(
        f"http://{address.hostname}:{address.port}/api/nodes", headers={"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return any(node.get("disk_free_alarm") for node in json.load(answer))


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


# Each body is the only one of its kind, so that it is known again.
KINDS: dict[str, Callable[[str], tuple[dict[str, Any], bytes]]] = {
    "not JSON": lambda mark: ({"ce-type": FileComplete.type}, f"{{{mark}".encode()),
    "no type": lambda mark: ({}, _json(mark=mark)),
    "unknown type": lambda mark: ({"ce-type": "slidemill.polish-glass.v1"}, _json(mark=mark)),
    "missing fields": lambda mark: ({"ce-type": BaseDiced.type}, _json(database="slidemill", mark=mark)),
    "future version": lambda mark: ({"ce-type": "slidemill.file-complete.v99"}, _json(mark=mark)),
    "large": lambda mark: ({"ce-type": FileComplete.type}, mark.encode() + b"x" * LARGE),
}
