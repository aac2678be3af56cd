"""The gateway's HTTP interface as the commands use it: a bearer token, JSON, and errors in one sentence."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from deploy.local.state import read_state
from services.ops.errors import Refused, StackUnreachable

PATIENCE = 300.0  # seconds that a gateway may be dead before an upload gives up
TOO_MANY = 429
_PAUSE = 1.0


class Gateway:
    """A client of the stack in a data folder; `async with` opens its connections.

    With `patience`, a request is repeated for that many seconds while nothing answers or the gateway has too much to
    do; all requests made here are harmless when repeated. Raises `StackUnreachable` when nothing answers and
    `Refused` for a refusal.
    """

    def __init__(self, data: Path, patience: float = 0.0) -> None:
        state = read_state(data)
        token = data / "token"
        if state is None or not token.exists():
            raise StackUnreachable(f"No stack was ever started in {data}: start it with ./slidemill up.")
        self.url = state.url
        self._token = token.read_text().strip()
        self._patience = patience
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send a request below /api/v1 and return the JSON object that answers it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while True:
            try:
                return await self._attempt(method, path, params=params, json=json, data=body, headers=headers)
            except (StackUnreachable, Refused) as error:
                passing = isinstance(error, StackUnreachable) or error.status == TOO_MANY
                if not passing or loop.time() >= deadline:
                    raise
                await asyncio.sleep(_PAUSE)

    async def items(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Walk through a list, page by page."""
        cursor: str | None = None
        while True:
            page = await self.request("GET", path, params={"limit": "1000", **({"cursor": cursor} if cursor else {})})
            for item in page["items"]:
                yield item
            cursor = page["next"]
            if cursor is None:
                return

    async def _attempt(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        if self._http is None:
            raise RuntimeError("The gateway client was not opened.")
        try:
            async with self._http.request(method, f"{self.url}/api/v1{path}", **options) as answer:
                content: Any = await answer.json(content_type=None) if answer.status != 204 else {}
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StackUnreachable(f"Nothing answers at {self.url}: start the stack with ./slidemill up.") from error
        except ValueError as error:
            raise StackUnreachable(f"{self.url} answered with something that is not JSON: {error}.") from error
        if answer.status in (500, 502, 503, 504):
            raise StackUnreachable(f"The gateway at {self.url} is not available: {_sentence(content)}")
        if answer.status >= 400:
            image = content.get("image") if isinstance(content, dict) else None
            raise Refused(_sentence(content), answer.status, image)
        return dict(content)


def _sentence(problem: Any) -> str:
    """Detail and remedy of problem details, as a person reads them."""
    if not isinstance(problem, dict):
        return str(problem)
    told = [problem.get("detail") or problem.get("title") or "no reason was given", problem.get("remedy")]
    return " ".join(str(part) for part in told if part)
