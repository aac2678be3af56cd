"""The uploaded file itself, as it came: whole or a range of it (RFC 9110), proven by its digest (RFC 9530)."""

import asyncio
from contextlib import aclosing

import structlog
from aiohttp import ETag, web

from services.viewer import core
from services.viewer.lookup import Slide, asked_version, find_slide
from shared.access import decide
from shared.blobs import BlobInfo, Blobs
from shared.clock import Clock
from shared.errors import Reject, Unavailable
from shared.http.identity import principal_of
from shared.http.problems import Problem, not_found, require
from shared.slides.sniff import sniff
from shared.store import Store

# A client that takes nothing for so long is gone, whatever its connection says.
STALLED_SECONDS = 300.0
# What the connection can't take at once is copied into its buffer: that shall not be a whole chunk for each client.
WRITTEN = 128 * 1024
# Enough to know a zip.
ZIP_BYTES = 4

log = structlog.get_logger()


class Originals:
    """Streams stored files; nothing about who may have them is remembered."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def original(self, request: web.Request) -> web.StreamResponse:
        """The file of the version that is shown, or of the one asked for, also where it became no image."""
        slide = await self._slide(request)
        info = await self._stored(slide)
        etag = f'"{info.sha256}"'
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": core.REVALIDATED,
            "Content-Disposition": core.attachment(await self._saved_as(slide.image.name, info)),
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "ETag": etag,
            "Repr-Digest": core.repr_digest(info.sha256 or ""),
        }
        if not _holds(request.if_match, etag, strong=True, otherwise=True):
            raise Problem(412, f"{slide.image.name} is not what If-Match names.", "Ask again without If-Match.")
        if _holds(request.if_none_match, etag, strong=False, otherwise=False):
            return web.Response(status=304, headers=headers)
        part = self._part(request, info, etag)
        response = web.StreamResponse(headers={**headers, "Content-Type": "application/octet-stream"})
        if part is not None:
            response.set_status(206)
            response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{info.length}"
        span = part or range(info.length)
        response.content_length = len(span)
        await response.prepare(request)
        if request.method != "HEAD":
            await self._send(request, response, info, span)
        return response

    async def _slide(self, request: web.Request) -> Slide:
        principal = await principal_of(request, self._store, self._clock)
        image, asked = request.match_info["image"], asked_version(request)
        slide = await find_slide(self._store, image, asked) if principal else None
        require(decide(principal, "see", slide.owner if slide else None), "image")
        if slide is None:
            raise not_found("image")
        return slide

    async def _stored(self, slide: Slide) -> BlobInfo:
        """The whole file; raises the `Problem` if it is not stored."""
        version = core.stored(slide.image, slide.version)
        if isinstance(version, core.Hidden):
            raise Problem(404, version.reason, version.remedy)
        info = await self._blobs.info(version.file)
        if info is None or not info.complete or info.sha256 is None:
            raise Problem(404, f"The file of {slide.image.name} is no longer stored.", "Upload it again.")
        return info

    async def _saved_as(self, name: str, info: BlobInfo) -> str:
        """A slide of several files goes by the name of one of them, and what is stored of it is a zip."""
        async with aclosing(self._blobs.stream(info.file, 0, min(ZIP_BYTES, info.length))) as pieces:
            head = b"".join([piece async for piece in pieces])
        return f"{name}.zip" if sniff(head) == "zip" and not name.lower().endswith(".zip") else name

    @staticmethod
    def _part(request: web.Request, info: BlobInfo, etag: str) -> range | None:
        """The bytes asked for; None for all of them. Raises the 416."""
        header = request.headers.get("Range")
        # An If-Range that names another state of the file, or a time, of which we tell none, asks for all of it.
        if header is None or request.method != "GET" or request.headers.get("If-Range", etag).strip() != etag:
            return None
        try:
            return core.byte_range(header, info.length)
        except core.Unsatisfiable as error:
            raise Problem(
                416,
                str(error),
                f"Ask for bytes from 0 to {info.length - 1}.",
                headers={"Content-Range": f"bytes */{info.length}"},
            ) from None

    async def _send(self, request: web.Request, response: web.StreamResponse, info: BlobInfo, span: range) -> None:
        """Writes as fast as the client reads. An answer that can't be finished is broken off, so that it is noticed."""
        try:
            async with aclosing(self._blobs.stream(info.file, span.start, len(span))) as pieces:
                async for piece in pieces:
                    for start in range(0, len(piece), WRITTEN):
                        async with asyncio.timeout(STALLED_SECONDS):
                            await response.write(piece[start : start + WRITTEN])
        except ConnectionError:
            return
        except (Unavailable, Reject, TimeoutError) as error:
            log.warning("original broken off", file=info.file, error=str(error) or "the client takes nothing")
            if request.transport is not None:
                request.transport.abort()


def _holds(tags: tuple[ETag, ...] | None, etag: str, *, strong: bool, otherwise: bool) -> bool:
    """Whether a condition names this state of the file, or any; `otherwise` where there is no condition."""
    if tags is None:
        return otherwise
    return any(tag.value == "*" or (f'"{tag.value}"' == etag and not (strong and tag.is_weak)) for tag in tags)
