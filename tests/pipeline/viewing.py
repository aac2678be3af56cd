"""What a browser sees of a mill's images."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from services.viewer.routes import viewer
from shared.http.identity import fingerprint
from shared.store.documents import Account, Token
from shared.tiles.geometry import Position
from tests.pipeline.mill import Mill


@asynccontextmanager
async def seen(mill: Mill) -> AsyncIterator[Callable[[str, Position], Awaitable[bytes]]]:
    """What a browser gets: asks a viewer over HTTP for the tile of an image at a position."""
    await mill.store.accounts.insert(Account(id="0" * 32, name="owner", admin=False, created=mill.clock.now()))
    await mill.store.tokens.insert(
        Token(id=fingerprint("owner"), account="0" * 32, kind="api", created=mill.clock.now())
    )
    server = TestServer(viewer(mill.store, mill.blobs, mill.tiles, mill.clock))
    async with server, ClientSession(headers={"Authorization": "Bearer owner"}) as http:

        async def ask(image: str, position: Position) -> bytes:
            geometry = (await mill.version(image)).geometry
            assert geometry is not None
            level = geometry.dzi_levels - position.level
            path = f"/api/v1/images/{image}/image_files/{level}/{position.col}_{position.row}.jpeg"
            async with http.get(server.make_url(path)) as answer:
                assert answer.status == 200
                return await answer.read()

        yield ask
