"""What every route of the gateway works with, and how it finds what an address names."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from services.upload.admin.graveyard import Graveyard
from services.upload.admin.pipeline import Overview
from services.upload.announcer import Announcer
from services.upload.core import Invalid
from services.upload.intake import Intake
from services.upload.removing import Removing
from services.upload.tus.joining import Joining
from services.upload.tus.writing import Writing
from services.upload.watching import Watching
from shared.access import Action, Principal, decide
from shared.blobs import Blobs
from shared.bus import Bus
from shared.bus.journal import Journal
from shared.clock import Clock
from shared.http.identity import PRINCIPAL
from shared.http.problems import Problem, not_found, require, sign_in
from shared.remembered import Remembered
from shared.store import Store
from shared.store.documents.images import Image, Session
from shared.store.documents.uploads import Upload

B = TypeVar("B", bound=BaseModel)
MOST_ITEMS = 1000


@dataclass(frozen=True)
class Gateway:
    """The parts that routes use. `page` is the folder of the built web page.

    `sessions` are remembered for a moment, for requests that go on with an upload: whose session is deleted meanwhile,
    that has ended too.
    """

    store: Store
    blobs: Blobs
    clock: Clock
    intake: Intake
    writing: Writing
    joining: Joining
    announcer: Announcer
    removing: Removing
    watching: Watching
    sessions: Remembered[str, Session | None]
    bus: Bus
    database: str
    journal: Journal
    graveyard: Graveyard
    overview: Overview
    public_url: str
    page: Path


GATEWAY = web.AppKey("gateway", Gateway)


def gateway_of(request: web.Request) -> Gateway:
    """The application's parts."""
    return request.app[GATEWAY]


def principal_of(request: web.Request, action: Action = "create") -> Principal:
    """The account behind the request, if it may do what needs no owner; else the problem."""
    principal = request[PRINCIPAL]
    require(decide(principal, action), "thing")
    if principal is None:
        raise sign_in()
    return principal


async def session_of(request: web.Request, action: Action, *, remembered: bool = False) -> Session:
    """The session that the address names, if this account may do this to it; else 401 or 404."""
    return await session_named(request, request.match_info["session"], action, remembered=remembered)


async def session_named(request: web.Request, id: str, action: Action, *, remembered: bool = False) -> Session:
    """The session of this id, if this account may do this to it; else 401 or 404."""
    principal_of(request)
    session = await (_remembered(gateway_of(request), id) if remembered else gateway_of(request).store.sessions.get(id))
    require(decide(request[PRINCIPAL], action, session.owner if session else None), "session")
    if session is None:
        raise not_found("session")
    return session


async def _remembered(gateway: Gateway, id: str) -> Session | None:
    return await gateway.sessions.found(id, lambda: gateway.store.sessions.get(id))


async def image_of(request: web.Request, action: Action) -> Image:
    """The image that the address names, if this account may do this to it; else 401 or 404."""
    principal_of(request)
    store = gateway_of(request).store
    image = await store.images.get(request.match_info["image"])
    session = await store.sessions.get(image.session) if image else None
    require(decide(request[PRINCIPAL], action, session.owner if session else None), "image")
    if image is None or session is None:
        raise not_found("image")
    return image


async def tus_upload(request: web.Request, id: str) -> Upload:
    """The upload of this id by the tus protocol, if this account may go on with it; else 401 or 404."""
    principal = principal_of(request)
    gateway = gateway_of(request)
    upload = await gateway.store.uploads.get(id)
    if upload is None or upload.tus is None:
        raise not_found("upload")
    session = await _remembered(gateway, upload.session) if upload.session else None
    # Parts without a session are their sender's.
    owner = upload.owner if not upload.session else session.owner if session else None
    require(decide(principal, "change", owner), "upload")
    return upload


def limit_of(request: web.Request) -> int:
    """The `limit` of a list."""
    text = request.query.get("limit", "100")
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= MOST_ITEMS:
        raise Invalid(f"limit is '{text[:20]}', which is no number from 1 to {MOST_ITEMS}.")
    return int(text)


async def json_of(request: web.Request, model: type[B]) -> B:
    """The request's JSON body, checked."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Problem(
            400, f"The request is not as it should be: {where}: {first['msg']}.", "Correct it and send it again."
        ) from None
