"""`/metrics` tells what a service counts."""

from collections.abc import Sequence

from aiohttp import web

from shared.errors import Unavailable
from shared.metrics import Source, exposition

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def add_metrics(app: web.Application, sources: Sequence[Source]) -> None:
    """Adds the route. What a source can't say now is 503: a gap in a curve tells more than a value that is old."""

    async def metrics(_: web.Request) -> web.Response:
        try:
            families = [family for source in sources for family in await source()]
        except Unavailable as error:
            return web.Response(text=f"{error}\n", status=503)
        return web.Response(body=exposition(families).encode(), headers={"Content-Type": _CONTENT_TYPE})

    app.router.add_get("/metrics", metrics)
