"""Which slide a request means."""

from dataclasses import dataclass

from aiohttp import web

from services.viewer.core import version_number
from shared.http.problems import Problem
from shared.store import Store
from shared.store.documents.images import Image
from shared.store.documents.versions import Version, VersionId


def asked_version(request: web.Request) -> int | None:
    """The version that `?v=` names, or None."""
    asked = request.query.get("v")
    if asked is None:
        return None
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 9 and int(asked) > 0):
        raise Problem(400, f"v={asked[:20]} is no version.", "Give v a whole number from 1 on, or leave it out.")
    return int(asked)


@dataclass(frozen=True)
class Slide:
    """An image, the account that owns its session, and the version to show (None if there is no such version)."""

    image: Image
    owner: str
    version: Version | None


async def find_slide(store: Store, id: str, asked: int | None) -> Slide | None:
    """The slide with the version asked for (None: the one to show); None if there is no such image."""
    image = await store.images.get(id)
    session = await store.sessions.get(image.session) if image is not None else None
    if image is None or session is None:
        return None
    version = await store.versions.get(VersionId(image=id, n=version_number(image, asked)))
    return Slide(image, session.owner, version)
