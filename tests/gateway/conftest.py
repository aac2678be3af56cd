"""A real gateway on a port of its own, around the memory ports; tests talk HTTP to it."""

import hashlib
import io
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.upload.app import make_app, make_gateway
from services.upload.gateway import Gateway
from services.upload.limits import Bounds
from services.upload.relay import Relay
from shared.blobs import Blobs
from shared.blobs.memory import MemoryBlobs
from shared.bus import Message
from shared.bus.memory import MemoryBus, MemoryDeadLetters, MemoryJournal
from shared.clock import ManualClock, SystemClock
from shared.errors import Unavailable
from shared.events import Event
from shared.http.identity import ensure_admin, fingerprint
from shared.store import Store
from shared.store.documents.accounts import Account, Token
from shared.store.documents.uploads import Upload
from shared.store.memory import MemoryStore
from shared.tiles import Tiles
from shared.tiles.memory import MemoryTiles

ADMIN = "token-of-the-administrator"
ANNA = "token-of-anna"
MIB = 1024 * 1024


def slide(size: int, seed: int = 1) -> bytes:
    """Bytes that begin like a TIFF."""
    return (b"II*\x00" + random.Random(seed).randbytes(max(0, size - 4)))[:size]


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Form(io.BytesIO):
    """A multipart form as browsers write it: fields, then files (name, file name, bytes)."""

    boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"

    def __init__(self, fields: Mapping[str, str], *files: tuple[str, str, bytes]) -> None:
        parts = [f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
        for name, filename, data in files:
            head = f'form-data; name="{name}"; filename="{filename}"\r\nContent-Type: application/octet-stream\r\n\r\n'
            parts.append(head.encode() + data)
        begin = f"--{self.boundary}\r\nContent-Disposition: ".encode()
        super().__init__(b"".join(begin + part + b"\r\n" for part in parts) + f"--{self.boundary}--\r\n".encode())


def content_range(start: int, stop: int, total: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-{stop - 1}/{total}"}


class BreakableBus(MemoryBus):
    """`broken` makes publishing fail as when the broker is down."""

    broken = False

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.broken:
            raise Unavailable("The broker is down.")
        await super().publish(messages)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str
    json: Any


@dataclass
class Served:
    """A running gateway and what lies behind it."""

    gateway: Gateway
    bus: BreakableBus
    url: str
    client: aiohttp.ClientSession
    sessions: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return self.gateway.store

    @property
    def blobs(self) -> Blobs:
        return self.gateway.blobs

    @property
    def tiles(self) -> Tiles:
        return self.gateway.removing.tiles

    async def ask(self, method: str, path: str, token: str | None = ADMIN, **arguments: Any) -> Answer:
        headers = dict(arguments.pop("headers", None) or {})
        if isinstance(arguments.get("data"), bytes):
            arguments["data"] = io.BytesIO(arguments["data"])
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.client.request(
            method, self.url + path, headers=headers, allow_redirects=False, **arguments
        ) as response:
            text = await response.text()
            kind = response.content_type
            json = await response.json(content_type=None) if kind.endswith("json") and text else None
            return Answer(response.status, response.headers.copy(), text, json)

    async def session(self, token: str = ADMIN, title: str = "Case 7") -> str:
        answer = await self.ask("POST", "/api/v1/sessions", token, json={"title": title})
        assert answer.status == 201, answer.text
        return str(answer.json["id"])

    async def send(
        self,
        session: str,
        data: bytes | Form | AsyncIterator[bytes],
        part: tuple[int, int, int] | None = None,
        method: str = "POST",
        **arguments: Any,
    ) -> Answer:
        """Sends a raw body; `part` is (start, stop, total)."""
        headers = {**(content_range(*part) if part else {}), **arguments.pop("headers", {})}
        if isinstance(data, Form):
            headers["Content-Type"] = f"multipart/form-data; boundary={data.boundary}"
        return await self.ask(method, f"/api/v1/sessions/{session}/files", data=data, headers=headers, **arguments)

    async def images(self, session: str) -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/api/v1/sessions/{session}/images")
        assert answer.status == 200, answer.text
        return list(answer.json["items"])

    async def status(self, session: str, upload: str) -> dict[str, Any]:
        answer = await self.ask("GET", f"/api/v1/sessions/{session}/files/{upload}")
        assert answer.status == 200, answer.text
        return dict(answer.json)

    async def upload(self, id: str) -> Upload:
        upload = await self.store.uploads.get(id)
        assert upload is not None
        return upload

    async def published(self) -> list[Event]:
        """What was announced, once nothing is under way any more."""
        await self.gateway.announcer.close()
        return self.bus.broker.journal


async def serve(
    store: Store, blobs: Blobs, page: Path, tiles: Tiles | None = None, bounds: Bounds | None = None
) -> AsyncIterator[Served]:
    clock = SystemClock()
    await ensure_admin(store, ADMIN, clock)
    await store.accounts.insert(Account(id="a" * 32, name="Anna", created=clock.now()))
    await store.tokens.insert(Token(id=fingerprint(ANNA), account="a" * 32, kind="api", created=clock.now()))
    bus = BreakableBus()
    gateway = make_gateway(
        store=store,
        blobs=blobs,
        tiles=tiles or MemoryTiles(),
        bus=bus,
        letters=MemoryDeadLetters(bus.broker),
        journal=MemoryJournal(bus.broker),
        clock=clock,
        database="slidemill",
        public_url="http://slides.example",
        bounds=bounds,
        page=page,
    )
    runner = web.AppRunner(make_app(gateway), auto_decompress=False, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            yield Served(gateway, bus, f"http://{host}:{port}", client)
    finally:
        await runner.cleanup()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>slidemill</title>")
    (folder / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "assets" / "index-abc.js").write_text("export {};")
    return folder


@pytest.fixture
async def gateway(tmp_path: Path, page: Path) -> AsyncIterator[Served]:
    async for served in serve(MemoryStore(), MemoryBlobs(tmp_path / "scratch"), page):
        yield served


async def look_after(gateway: Served, after: timedelta) -> None:
    """One look of another gateway, whose clock is ahead; returns when its sweep is done."""
    clock = ManualClock(gateway.gateway.clock.now() + after)
    other = make_gateway(
        store=gateway.store,
        blobs=gateway.blobs,
        tiles=gateway.tiles,
        bus=gateway.bus,
        letters=MemoryDeadLetters(gateway.bus.broker),
        journal=MemoryJournal(gateway.bus.broker),
        clock=clock,
        database="slidemill",
        public_url=gateway.url,
    )
    await Relay(other, gateway.bus, "slidemill").look()
    await other.removing.settled()
    await other.announcer.close()
