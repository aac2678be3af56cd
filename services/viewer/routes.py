"""The viewer's routes under `/api/v1/images/{id}/`: Deep Zoom, thumbnail, label and macro image, the file itself."""

import asyncio

import structlog
from aiohttp import web

from services.viewer import core, pixels
from services.viewer.lookup import Slide, asked_version, find_slide
from services.viewer.originals import Originals
from shared.access import Principal, decide
from shared.blobs import Blobs
from shared.clock import Clock
from shared.http.headers import secure
from shared.http.identity import fingerprint, principal_of
from shared.http.problems import Problem, not_found, problems, require
from shared.remembered import Remembered
from shared.store import Store
from shared.tiles import Tiles
from shared.tiles.geometry import Position
from shared.tiles.keys import tile_key

IMAGE = "/api/v1/images/{image:[0-9a-f]{32}}"
NUMBER = "[0-9]{1,9}"

log = structlog.get_logger()


def viewer(store: Store, blobs: Blobs, tiles: Tiles, clock: Clock) -> web.Application:
    """The read side as an aiohttp application, without its health routes."""
    app = web.Application(middlewares=[problems])
    app.on_response_prepare.append(secure)
    app.add_routes(Reading(store, tiles, clock).routes())
    app.add_routes([web.get(f"{IMAGE}/file", Originals(store, blobs, clock).original)])
    return app


class Reading:
    """Answers from one database. Everything but the tile itself is remembered for a moment."""

    def __init__(self, store: Store, tiles: Tiles, clock: Clock) -> None:
        self._store = store
        self._tiles = tiles
        self._clock = clock
        self._principals: Remembered[str, Principal | None] = Remembered(clock)
        self._slides: Remembered[tuple[str, int | None], Slide | None] = Remembered(clock)

    def routes(self) -> list[web.RouteDef]:
        """Every route; GET answers HEAD too."""
        tile = f"{{level:{NUMBER}}}/{{col:{NUMBER}}}_{{row:{NUMBER}}}.jpeg"
        return [
            web.get(f"{IMAGE}/image_files/{tile}", self.tile),
            web.get(f"{IMAGE}/image.dzi", self.description),
            web.get(f"{IMAGE}/thumbnail", self.thumbnail),
            web.get(f"{IMAGE}/associated/{{kind:label|macro}}", self.thumbnail),
        ]

    async def description(self, request: web.Request) -> web.Response:
        """The Deep Zoom XML."""
        seen = await self._seen(request)
        text = core.description(seen.geometry).encode()
        headers = _caching(core.digest(text), core.REVALIDATED)
        return _unchanged(request, headers) or web.Response(body=text, content_type="application/xml", headers=headers)

    async def tile(self, request: web.Request) -> web.Response:
        """One tile. Stored tiles never change, so within one address the version is validator enough."""
        seen = await self._seen(request)
        level, col, row = (int(request.match_info[part]) for part in ("level", "col", "row"))
        place = core.locate(seen.geometry, level, col, row)
        if place is None:
            raise Problem(
                404,
                f"{seen.image.name} has no tile in column {col} and row {row} of level {level}.",
                "Ask for a tile inside the grid that image.dzi describes.",
            )
        headers = _caching(str(seen.version.id.n), core.PINNED if "v" in request.query else core.REVALIDATED)
        unchanged = _unchanged(request, headers)
        if unchanged is not None:
            return unchanged
        if isinstance(place, core.Stored):
            data = await self._stored(seen, place.position)
        else:
            last = await self._stored(seen, Position(seen.geometry.levels - 1, 0, 0))
            # Off the loop: decoding and halving take milliseconds, which the tiles of others would wait for.
            data = (await asyncio.to_thread(pixels.levels_below, last))[place.halvings - 1]
        return web.Response(body=data, content_type="image/jpeg", headers=headers)

    async def thumbnail(self, request: web.Request) -> web.Response:
        """The thumbnail, or the label or macro image that came with the slide."""
        seen = await self._seen(request)
        kind = request.match_info.get("kind", "thumbnail")
        picture = await self._store.thumbnails.get(f"{seen.version.id.image}:{seen.version.id.n}:{kind}")
        if picture is None and seen.building:
            raise Problem(404, f"{seen.image.name} has no {kind} yet.", "Look again when the image is ready.")
        if picture is None:
            raise Problem(404, f"{seen.image.name} has no {kind}.", "Nothing is wrong: the slide came without one.")
        headers = _caching(core.digest(picture.data), core.REVALIDATED)
        return _unchanged(request, headers) or web.Response(
            body=picture.data, content_type="image/jpeg", headers=headers
        )

    async def _seen(self, request: web.Request) -> core.Shown:
        """What to show to somebody who may see it; raises the `Problem` otherwise."""
        headers = request.headers
        credentials = fingerprint(f"{headers.get('Authorization')}\n{headers.get('Cookie')}")
        principal = await self._principals.get(credentials, lambda: principal_of(request, self._store, self._clock))
        image, asked = request.match_info["image"], asked_version(request)
        slide = (
            await self._slides.get((image, asked), lambda: find_slide(self._store, image, asked)) if principal else None
        )
        require(decide(principal, "see", slide.owner if slide else None), "image")
        if slide is None:
            raise not_found("image")
        shown = core.shown(slide.image, slide.version)
        if isinstance(shown, core.Hidden):
            raise Problem(404, shown.reason, shown.remedy)
        return shown

    async def _stored(self, seen: core.Shown, position: Position) -> bytes:
        """A stored tile's JPEG, or the background of its size where a finished slide has none."""
        data = await self._tiles.get(tile_key(seen.version.id.image, seen.version.id.n, position))
        if data is not None:
            return data
        name = seen.image.name
        old = seen.version.id.n < seen.image.current
        if old and await self._store.versions.get(seen.version.id) is None:
            # Its tiles are being removed, and what was remembered of it a moment ago would show them as background.
            gone = core.no_version(seen.image)
            raise Problem(404, gone.reason, gone.remedy)
        if seen.building:
            raise Problem(404, f"This part of {name} is not built yet.", "Ask again when the image is further on.")
        if seen.version.sparse == 0:
            # White here would show a pathologist an empty place where there is tissue.
            log.error("tile lost", image=seen.version.id.image, version=seen.version.id.n, position=tuple(position))
            raise Problem(404, f"A tile of {name} is missing.", "Tell the operator, who can have it made again.")
        return pixels.background(*seen.geometry.tile_size(position))


def _caching(validator: str, control: str) -> dict[str, str]:
    return {"ETag": f'"{validator}"', "Cache-Control": control}


def _unchanged(request: web.Request, headers: dict[str, str]) -> web.Response | None:
    """304 if the browser says that it has what these headers name."""
    if "If-None-Match" not in request.headers:
        return None
    had = {f'"{tag.value}"' for tag in request.if_none_match or ()}
    return web.Response(status=304, headers=headers) if headers["ETag"] in had else None
