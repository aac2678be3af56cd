"""A service that consumes messages."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NoReturn

from aiohttp import web

from shared.bus import Bus, Consumer
from shared.bus.rabbit import RabbitBus
from shared.bus.runner import Runner
from shared.clock import Clock, SystemClock
from shared.errors import Unavailable
from shared.http.health import Check, add_health, served
from shared.http.metrics import add_metrics
from shared.metrics import Source
from shared.service.connecting import connected, environments
from shared.service.running import run, until
from shared.settings import Settings

Builder = Callable[[Settings, Clock, Bus], AbstractAsyncContextManager[Consumer]]

# Shorter than the 20 s after which a supervisor kills, so that messages are given back in order.
GRACE_SECONDS = 15.0


def run_service(settings: Settings, build: Builder) -> NoReturn:
    """Runs a service that consumes until it is told to stop: see `shared.service` for `build`, `run` for how it ends.

    While MongoDB or the broker can't be reached at the start it waits for them: alive, but not ready.
    """

    async def consume(settings: Settings, stop: asyncio.Event) -> None:
        clock = SystemClock()
        bus = RabbitBus(settings.amqp, settings.prefix)
        checks: list[Check] = [_starting]
        app = web.Application()
        add_health(app, checks)
        sources: list[Source] = []
        add_metrics(app, sources)
        async with (
            build(settings, clock, bus) as consumer,
            served(app, settings.http_host, settings.http_port),
            environments(settings, stop) as databases,
        ):
            store = databases[settings.database].store
            async with connected(bus, store, stop):
                runner = Runner(bus, consumer, databases, clock, grace=GRACE_SECONDS)
                checks[:] = [bus.ready, store.ping, runner.ready]
                sources.append(runner.metrics)
                if consumer.metrics is not None:
                    sources.append(partial(consumer.metrics, databases))
                besides = [consumer.beside(databases)] if consumer.beside is not None else []
                # The runner stops in order by itself; what goes on beside it does so until then.
                await until(asyncio.Event(), runner.run(stop), *besides)

    run(settings, consume)


async def _starting() -> None:
    raise Unavailable("The service is starting.")
