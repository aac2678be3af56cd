"""What a tus client says, spelled out: tests see the protocol itself, not some library's idea of it."""

import base64
from collections.abc import AsyncIterator
from typing import Any

from tests.gateway.conftest import ADMIN, Answer, Served

MEDIA = "application/offset+octet-stream"
SPOKEN = {"Tus-Resumable": "1.0.0"}
ADDRESS = "/api/v1/tus/"


def metadata(**values: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


async def ask(gateway: Served, method: str, path: str, token: str | None = ADMIN, **arguments: Any) -> Answer:
    headers = {**SPOKEN, **arguments.pop("headers", {})}
    return await gateway.ask(method, path, token, headers=headers, **arguments)


async def create(
    gateway: Served, session: str | None, length: int | None, *, token: str = ADMIN, **arguments: Any
) -> Answer:
    """POST of a new upload; further `headers` win."""
    said = {"filename": "kidney 7.svs", **({"session": session} if session else {}), **arguments.pop("said", {})}
    headers = {"Upload-Metadata": metadata(**said), **({} if length is None else {"Upload-Length": str(length)})}
    headers |= arguments.pop("headers", {})
    return await ask(gateway, "POST", ADDRESS, token, headers=headers, **arguments)


async def begin(gateway: Served, session: str, length: int | None, **arguments: Any) -> str:
    """The address of a new upload."""
    answer = await create(gateway, session, length, **arguments)
    assert answer.status == 201, answer.text
    return answer.headers["Location"]


async def patch(
    gateway: Served, place: str, offset: int, data: bytes | AsyncIterator[bytes], token: str = ADMIN, **arguments: Any
) -> Answer:
    headers = {"Content-Type": MEDIA, "Upload-Offset": str(offset), **arguments.pop("headers", {})}
    return await ask(gateway, "PATCH", place, token, data=data, headers=headers, **arguments)


async def offset_of(gateway: Served, place: str) -> int:
    answer = await ask(gateway, "HEAD", place)
    assert answer.status == 200, answer.headers
    return int(answer.headers["Upload-Offset"])


def id_of(place: str) -> str:
    return place.removeprefix(ADDRESS)
