"""`topology`: the table of exchanges and queues, shown, made on the broker, and compared with what the broker has."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from deploy.local.layout import PREFIX
from services.ops.drift import Actual, Difference, differences
from services.ops.errors import CommandFailed, StackUnreachable
from services.ops.pipeline import database_of
from shared.bus import topology as table
from shared.bus.rabbit import ForeignPrefix, TopologyMismatch, apply
from shared.service.connecting import deployment_claim


def show() -> dict[str, Any]:
    """The table, with arguments and bindings."""
    return {
        "exchanges": [asdict(exchange) for exchange in table.exchanges(PREFIX)],
        "queues": [asdict(queue) for queue in table.queues(PREFIX)],
    }


async def make(data: Path) -> dict[str, Any]:
    """Make every exchange, queue and binding that is missing on the broker."""
    async with database_of(data) as database:
        claim = await deployment_claim(database.store)
        try:
            await apply(database.state.amqp, PREFIX, claim)
        except (TopologyMismatch, ForeignPrefix) as refusal:
            raise CommandFailed(str(refusal)) from refusal
    return {"prefix": PREFIX, "claim": claim}


async def check(data: Path) -> dict[str, Any]:
    """Compare the broker with the table; touches nothing. `{"prefix", "differences": [...]}`."""
    # No bus: connecting one would make part of what is missing.
    async with database_of(data) as database:
        claim = table.Exchange(table.claim_exchange(PREFIX, await deployment_claim(database.store)), "fanout")
        actual = await broker_has(database.state.amqp, database.state.management)
    found = differences([*table.exchanges(PREFIX), claim], table.queues(PREFIX), actual, PREFIX)
    return {"prefix": PREFIX, "differences": [asdict(difference) for difference in found]}


async def broker_has(amqp: str, management: str) -> Actual:
    """Exchanges, queues and bindings of the virtual host, as the management API lists them."""
    host = quote(urlsplit(amqp).path.removeprefix("/") or "/", safe="")
    lists = []
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
            for kind in ("exchanges", "queues", "bindings"):
                async with http.get(f"{management}/api/{kind}/{host}", raise_for_status=True) as answer:
                    lists.append(await answer.json())
    except (aiohttp.ClientError, TimeoutError) as error:
        raise StackUnreachable(
            f"The broker's management API does not answer ({type(error).__name__}): see ./slidemill status."
        ) from error
    return Actual(*lists)


def sentences(found: Iterable[dict[str, Any]]) -> list[str]:
    """The differences for a person, one each."""
    return [Difference(**difference).sentence for difference in found]
