"""`/healthz` says that the event loop is alive, `/readyz` that the service can do its work now."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from shared.errors import Unavailable

# Bytes of a body that are read before they are asked for: as many as one look at a busy socket brings.
READ_AHEAD = 256 * 1024
Check = Callable[[], Awaitable[None]]


def add_health(app: web.Application, checks: Sequence[Check]) -> None:
    """Adds both routes. A check raises `Unavailable` with a sentence; the first one to do so is what `/readyz` says."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"}, headers={"Cache-Control": "no-store"})

    async def ready(_: web.Request) -> web.Response:
        try:
            for check in checks:
                await check()
        except Unavailable as error:
            answer = {"status": "not ready", "reason": str(error)}
            return web.json_response(answer, status=503, headers={"Cache-Control": "no-store", "Retry-After": "1"})
        return web.json_response({"status": "ready"}, headers={"Cache-Control": "no-store"})

    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)


@asynccontextmanager
async def served(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Serves an application for as long as the context lasts; open requests get a few seconds to end.

    A body is left as it was sent, compressed or not. Raises OSError if the port is taken.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=60.0,
        shutdown_timeout=10.0,
        read_bufsize=READ_AHEAD,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
