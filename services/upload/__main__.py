"""The gateway's process: its parts, its relay, and its HTTP server."""

import asyncio
import sys

from services.upload.app import make_app, make_gateway
from services.upload.limits import Bounds
from services.upload.relay import Relay
from shared.bus.rabbit import RabbitDeadLetters, RabbitJournal
from shared.clock import SystemClock
from shared.http.health import add_health, served
from shared.service.connecting import broker, environments
from shared.service.running import run, until
from shared.settings import Settings

SWITCH_SECONDS = 0.0005


async def upload(settings: Settings, stop: asyncio.Event) -> None:
    """Serves until told to stop. Files are taken in while the broker is away, so being ready does not wait for it."""
    clock = SystemClock()
    async with environments(settings, stop) as databases:
        main = databases[settings.database]
        async with broker(settings, main.store, stop, wait=False) as bus:
            gateway = make_gateway(
                store=main.store,
                blobs=main.blobs,
                tiles=main.tiles,
                bus=bus,
                letters=RabbitDeadLetters(settings.amqp, settings.prefix, bus),
                journal=RabbitJournal(settings.amqp, settings.prefix),
                clock=clock,
                database=settings.database,
                public_url=settings.public_url,
                stores={name: served.store for name, served in databases.items()},
                bounds=Bounds(
                    file=settings.max_file_bytes,
                    account=settings.account_bytes,
                    uploads=settings.account_uploads,
                    reserve=settings.disk_reserve_bytes,
                ),
            )
            relay = Relay(gateway, bus, settings.database)
            app = make_app(gateway)
            add_health(app, [main.store.ping])
            async with served(app, settings.http_host, settings.http_port):
                await until(stop, relay.run())


if __name__ == "__main__":
    # By default a thread that wants the interpreter waits 5 ms for another: longer than writing a chunk takes.
    sys.setswitchinterval(SWITCH_SECONDS)
    run(Settings(), upload)
