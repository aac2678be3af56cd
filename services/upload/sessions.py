"""Sessions, the images in them, and single images."""

import uuid
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.upload.core.cursors import after, cursor
from services.upload.gateway import gateway_of, image_of, json_of, limit_of, principal_of, session_of
from services.upload.models import NewSession
from shared.store import Greater, In, Store
from shared.store.documents.images import Image, Session
from shared.store.documents.versions import Version, VersionId
from shared.store.view import image_object, moment


async def session_objects(store: Store, sessions: Sequence[Session]) -> list[dict[str, Any]]:
    """The session objects, with their images counted by the state of the latest version."""
    ids = In([session.id for session in sessions])
    counts = await store.versions.tally({"session": ids}, ["session", "state"]) if sessions else {}
    renewed = await store.images.find({"session": ids, "latest": Greater(1)}) if sessions else []
    latest = {image.id: image.latest for image in renewed}
    earlier = await store.versions.find({"_id.image": In(list(latest))}) if latest else []
    for version in earlier:
        if version.id.n < latest[version.id.image]:
            counts[version.session, version.state] -= 1
    return [
        {
            "id": session.id,
            "title": session.title,
            "owner": session.owner,
            "created": moment(session.created),
            "images": {state: count for (owner, state), count in counts.items() if owner == session.id and count > 0},
        }
        for session in sessions
    ]


async def image_objects(store: Store, images: Sequence[Image]) -> list[dict[str, Any]]:
    """The image objects, each as its latest version is."""
    found = await store.versions.find({"_id.image": In([image.id for image in images])}) if images else []
    versions: dict[tuple[str, int], Version] = {(version.id.image, version.id.n): version for version in found}
    return [image_object(image, versions.get((image.id, image.latest))) for image in images]


def _page(items: list[dict[str, Any]], documents: Sequence[Session | Image], limit: int) -> web.Response:
    more = len(documents) > limit
    last = documents[limit - 1] if more else None
    return web.json_response({"items": items, "next": cursor(last.created, last.id) if last else None})


async def create_session(request: web.Request) -> web.Response:
    """Makes a session that belongs to the caller."""
    gateway = gateway_of(request)
    principal = principal_of(request)
    asked = await json_of(request, NewSession)
    session = Session(id=uuid.uuid4().hex, title=asked.title, owner=principal.account, created=gateway.clock.now())
    await gateway.store.sessions.insert(session)
    (told,) = await session_objects(gateway.store, [session])
    return web.json_response(told, status=201, headers={"Location": f"/api/v1/sessions/{session.id}"})


async def list_sessions(request: web.Request) -> web.Response:
    """The caller's sessions."""
    store = gateway_of(request).store
    principal = principal_of(request)
    limit, at = limit_of(request), request.query.get("cursor")
    found = await store.sessions.find(
        {"owner": principal.account}, sort="created", after=after(at) if at else None, limit=limit + 1
    )
    return _page(await session_objects(store, found[:limit]), found, limit)


async def get_session(request: web.Request) -> web.Response:
    """One session."""
    session = await session_of(request, "see")
    (told,) = await session_objects(gateway_of(request).store, [session])
    return web.json_response(told)


async def delete_session(request: web.Request) -> web.Response:
    """Deletes a session with all its images, for good."""
    session = await session_of(request, "change")
    await gateway_of(request).removing.session(session.id)
    return web.Response(status=204)


async def list_images(request: web.Request) -> web.Response:
    """The images of a session."""
    store = gateway_of(request).store
    session = await session_of(request, "see")
    limit, at = limit_of(request), request.query.get("cursor")
    found = await store.images.find(
        {"session": session.id}, sort="created", after=after(at) if at else None, limit=limit + 1
    )
    return _page(await image_objects(store, found[:limit]), found, limit)


async def get_image(request: web.Request) -> web.Response:
    """One image."""
    image = await image_of(request, "see")
    version = await gateway_of(request).store.versions.get(VersionId(image=image.id, n=image.latest))
    return web.json_response(image_object(image, version))


async def delete_image(request: web.Request) -> web.Response:
    """Deletes an image for good, also while it is sent or worked on."""
    image = await image_of(request, "change")
    await gateway_of(request).removing.image(image.id)
    return web.Response(status=204)
