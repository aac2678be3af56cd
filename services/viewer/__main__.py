"""Runs the viewer: `python -m services.viewer`."""

import asyncio

from services.viewer.routes import viewer
from shared.clock import SystemClock
from shared.http.health import add_health, served
from shared.service.connecting import environments
from shared.service.running import run
from shared.settings import Settings


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serves the main database's images until told to stop; it needs no broker."""
    async with environments(settings, stop) as databases:
        main = databases[settings.database]
        app = viewer(main.store, main.blobs, main.tiles, SystemClock())
        add_health(app, [main.store.ping])
        async with served(app, settings.http_host, settings.http_port):
            await stop.wait()


if __name__ == "__main__":
    run(Settings(), serve)
