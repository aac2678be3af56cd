"""What the table of routes is made of."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web
from pydantic import BaseModel

API = "/api/v1"
LISTED = {
    "limit": "How many items at most: 100 unless told, no more than 1000.",
    "cursor": "The `next` of the page before.",
}


@dataclass(frozen=True)
class Route:
    """One method of one address. `answers` maps a status to its model, or to None for an answer without a body.

    `query` and `headers` map a name to what it means. Open routes need no account.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    summary: str
    answers: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | tuple[str, ...] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"
    open: bool = False
