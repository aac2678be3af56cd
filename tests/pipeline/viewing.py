"""What a browser gets of an image: a viewer over HTTP, on the stores of a mill."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import openslide
import simplejpeg
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from PIL import Image

from services.viewer.routes import viewer
from shared.http.identity import fingerprint
from shared.store.documents.accounts import Account, Token
from shared.tiles.geometry import Geometry, Position, Rect
from tests.pipeline.mill import Mill

# As a browser, no more requests at once.
_AT_ONCE = 6


class Browser:
    """Asks for what is shown of the mill's images, as the person who owns them."""

    def __init__(self, mill: Mill, server: TestServer, http: ClientSession) -> None:
        self._mill = mill
        self._server = server
        self._http = http

    async def tile(self, image: str, position: Position) -> bytes:
        """The tile at a position, a JPEG file."""
        geometry = await self._geometry(image)
        level = geometry.dzi_levels - position.level
        return await self._get(f"{image}/image_files/{level}/{position.col}_{position.row}.jpeg")

    async def base(self, image: str) -> np.ndarray:
        """Full resolution, (height, width, 3), decoded and put together."""
        geometry = await self._geometry(image)
        cols, rows = geometry.grid(0)
        shown = np.zeros((geometry.height, geometry.width, 3), np.uint8)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def put(position: Position) -> None:
            async with turn:
                pixels = decoded(await self.tile(image, position))
            y, x = position.row * geometry.tile, position.col * geometry.tile
            # The tile that stands for bare glass is whole, even at an edge.
            part = shown[y : y + geometry.tile, x : x + geometry.tile]
            part[:] = pixels[: part.shape[0], : part.shape[1]]

        await asyncio.gather(*map(put, Rect(level=0, top=0, left=0, bottom=rows, right=cols).positions()))
        return shown

    async def associated(self, image: str, kind: str) -> np.ndarray:
        """The slide's label or macro image."""
        return decoded(await self._get(f"{image}/associated/{kind}"))

    async def original(self, image: str) -> bytes:
        """The file as it was uploaded."""
        return await self._get(f"{image}/file")

    async def _geometry(self, image: str) -> Geometry:
        geometry = (await self._mill.version(image)).geometry
        assert geometry is not None
        return geometry

    async def _get(self, path: str) -> bytes:
        async with self._http.get(self._server.make_url(f"/api/v1/images/{path}")) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()


def decoded(jpeg: bytes) -> np.ndarray:
    """The pixels of a JPEG file as OpenSlide too would decode them."""
    pixels: np.ndarray = simplejpeg.decode_jpeg(jpeg, fastdct=False, fastupsample=False)
    return pixels


def shown_by_openslide(path: Path) -> np.ndarray:
    """Full resolution by OpenSlide, over the slide's background."""
    with openslide.OpenSlide(path) as slide:
        pixels = slide.read_region((0, 0), 0, slide.dimensions)
        background = slide.properties.get("openslide.background-color", "FFFFFF")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", pixels.size, f"#{background}"), pixels).convert("RGB"))


@asynccontextmanager
async def seen(mill: Mill) -> AsyncIterator[Browser]:
    """A viewer of the mill's images, and somebody who may see them."""
    await mill.store.accounts.insert(Account(id="0" * 32, name="owner", admin=False, created=mill.clock.now()))
    await mill.store.tokens.insert(
        Token(id=fingerprint("owner"), account="0" * 32, kind="api", created=mill.clock.now())
    )
    server = TestServer(viewer(mill.store, mill.blobs, mill.tiles, mill.clock))
    async with server, ClientSession(headers={"Authorization": "Bearer owner"}) as http:
        yield Browser(mill, server, http)
