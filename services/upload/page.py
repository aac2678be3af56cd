"""The web page's files, as `make setup` has built them."""

import asyncio
import re

from aiohttp import web

from services.upload.gateway import gateway_of
from shared.http.problems import Problem, not_found

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


async def index(request: web.Request) -> web.StreamResponse:
    """The page itself, whichever of its own addresses was opened."""
    return await _file(request, "index.html", "no-cache")


async def favicon(request: web.Request) -> web.StreamResponse:
    """The page's icon."""
    return await _file(request, "favicon.svg", "public, max-age=86400")


async def asset(request: web.Request) -> web.StreamResponse:
    """A script or style sheet; its name changes with its contents."""
    name = request.match_info["name"]
    if _NAME.fullmatch(name) is None:
        raise not_found("file")
    return await _file(request, f"assets/{name}", "public, max-age=31536000, immutable")


async def _file(request: web.Request, name: str, caching: str) -> web.StreamResponse:
    page = gateway_of(request).page
    path = page / name
    if not await asyncio.to_thread(path.is_file):
        if await asyncio.to_thread((page / "index.html").is_file):
            raise not_found("file")
        raise Problem(503, "The web page has not been built.", "Run make setup, then reload.")
    return web.FileResponse(path, headers={"Cache-Control": caching})
