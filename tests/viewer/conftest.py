"""A small slide, put by hand into memory stores, behind a real HTTP server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from services.viewer.routes import viewer
from shared.blobs.memory import MemoryBlobs
from shared.clock import ManualClock
from shared.http.identity import fingerprint
from shared.store.documents.accounts import Account, Token
from shared.store.documents.images import Image, Session, Thumbnail
from shared.store.documents.versions import Failure, Version, VersionId
from shared.store.memory import MemoryStore
from shared.tiles import Tile
from shared.tiles.geometry import Geometry, Position
from shared.tiles.keys import tile_key
from shared.tiles.memory import MemoryTiles

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
OWNER, STRANGER, ADMIN = "a" * 32, "b" * 32, "c" * 32
IMAGE = "0123456789abcdef0123456789abcdef"
GEOMETRY = Geometry(width=600, height=400, tile=256)


def picture(width: int, height: int, shade: int) -> bytes:
    """A JPEG of one shade, a part of 0 to 255 in every colour."""
    encoded: bytes = simplejpeg.encode_jpeg(
        np.full((height, width, 3), shade, np.uint8), quality=90, colorsubsampling="444"
    )
    return encoded


def shade(jpeg: bytes) -> tuple[int, int, int]:
    """(width, height, mean shade) of a JPEG."""
    pixels = simplejpeg.decode_jpeg(jpeg)
    return pixels.shape[1], pixels.shape[0], round(float(pixels.mean()))


class Site:
    """The stores behind a running viewer, and requests to it in somebody's name."""

    def __init__(self, http: ClientSession, scratch: Path) -> None:
        self.http = http
        self.clock = ManualClock(NOW)
        self.store = MemoryStore()
        self.blobs = MemoryBlobs(scratch)
        self.tiles = MemoryTiles()
        self.server = TestServer(viewer(self.store, self.blobs, self.tiles, self.clock))

    async def settle(self) -> None:
        """Two accounts and an administrator, each with a token of its own name; a session of the first."""
        for account, name in ((OWNER, "owner"), (STRANGER, "stranger"), (ADMIN, "admin")):
            await self.store.accounts.insert(Account(id=account, name=name, admin=name == "admin", created=NOW))
            await self.store.tokens.insert(Token(id=fingerprint(name), account=account, kind="api", created=NOW))
        await self.store.tokens.insert(Token(id=fingerprint("page"), account=OWNER, kind="browser", created=NOW))
        await self.store.sessions.insert(Session(id="5" * 32, title="Case 12", owner=OWNER, created=NOW))

    async def put_version(
        self, n: int = 1, *, state: str = "ready", geometry: Geometry | None = GEOMETRY, sparse: int = 0
    ) -> None:
        """A version's document; of its image's too, if it is the first."""
        failure = Failure(stage="dice", reason="It is cut short.", remedy="Scan it again.")
        await self.store.images.insert(Image(id=IMAGE, session="5" * 32, name="Präparat 7.svs", latest=n, created=NOW))
        await self.store.images.update(IMAGE, set={"latest": n, **({"current": n} if state == "ready" else {})})
        await self.store.versions.insert(
            Version.model_validate(
                {
                    "_id": VersionId(image=IMAGE, n=n),
                    "session": "5" * 32,
                    "file": "f" * 32,
                    "name": "Präparat 7.svs",
                    "state": state,
                    "geometry": geometry,
                    "sparse": sparse,
                    "failure": failure if state == "failed" else None,
                    "created": NOW,
                    "updated": NOW,
                }
            )
        )

    async def put_tiles(self, n: int = 1, *, levels: range = range(3), but: frozenset[Position] = frozenset()) -> None:
        """Tiles whose shade says where they are: 60 * level + 10 * row + col."""
        for level in levels:
            cols, rows = GEOMETRY.grid(level)
            for position in (Position(level, row, col) for row in range(rows) for col in range(cols)):
                if position not in but:
                    jpeg = picture(*GEOMETRY.tile_size(position), 60 * level + 10 * position.row + position.col)
                    await self.tiles.put([Tile(tile_key(IMAGE, n, position), jpeg)])

    async def put_thumbnail(self, kind: str, data: bytes) -> None:
        """A picture of version 1."""
        await self.store.thumbnails.insert(
            Thumbnail.model_validate(
                {"_id": f"{IMAGE}:1:{kind}", "kind": kind, "width": 60, "height": 40, "data": data}
            )
        )

    def address(self, path: str, image: str = IMAGE) -> str:
        """The address of something below an image."""
        return str(self.server.make_url(f"/api/v1/images/{image}/{path}"))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A viewer on a free port, without any image."""
    async with ClientSession(headers={"Authorization": "Bearer owner"}) as http:
        built = Site(http, tmp_path)
        await built.settle()
        async with built.server:
            yield built
