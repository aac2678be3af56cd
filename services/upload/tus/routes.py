"""The addresses of the tus protocol: /api/v1/tus/ and one below it for each upload."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from services.upload.body import open_body
from services.upload.core import Invalid
from services.upload.gateway import gateway_of, principal_of, tus_upload
from services.upload.tus.checks import expiry, not_bytes, tus_of
from services.upload.tus.core import (
    ADDRESS,
    ALGORITHMS,
    EXTENSIONS,
    MEDIA,
    VERSION,
    checksum_of,
    number,
    progress,
)
from services.upload.tus.creating import create
from shared.errors import Unavailable
from shared.http.problems import Problem
from shared.store.documents.uploads import Upload

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OVERRIDE = "X-HTTP-Method-Override"


async def resumable(request: web.Request, response: web.StreamResponse) -> None:
    """For `app.on_response_prepare`: every answer says which version of the protocol it speaks."""
    if request.path.startswith(ADDRESS):
        response.headers.setdefault("Tus-Resumable", VERSION)


@web.middleware
async def unanswered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Closes the connection of whoever asks where to go on while the database is away.

    A client that gets an error as the answer takes its upload for lost and begins anew; one without any asks again.
    """
    try:
        return await handler(request)
    except Unavailable:
        if request.method == "HEAD" and request.path.startswith(ADDRESS) and request.transport is not None:
            request.transport.close()
        raise


async def collection(request: web.Request) -> web.StreamResponse:
    """What can be done at the address where uploads begin."""
    return await _answer(request, {"POST": create, "OPTIONS": options})


async def single(request: web.Request) -> web.StreamResponse:
    """What can be done with one upload."""
    return await _answer(request, {"HEAD": head, "PATCH": patch, "DELETE": terminate, "OPTIONS": options})


async def _answer(request: web.Request, handlers: Mapping[str, Handler]) -> web.StreamResponse:
    principal_of(request)
    method = request.method
    if method not in ("HEAD", "OPTIONS"):
        # For those whose firewall lets nothing but POST pass. What is safe stays safe.
        method = request.headers.get(OVERRIDE, method).strip().upper()
    handler = handlers.get(method)
    if handler is None:
        raise Problem(
            405,
            f"This address does not take {method[:20]}.",
            "Use one of the methods that the Allow header names.",
            headers={"Allow": ", ".join(handlers)},
        )
    if method != "OPTIONS" and request.headers.get("Tus-Resumable") != VERSION:
        raise Problem(
            412,
            f"Tus-Resumable is not {VERSION}, the one version of the protocol that is spoken here.",
            f"Send 'Tus-Resumable: {VERSION}'.",
            headers={"Tus-Version": VERSION},
        )
    return await handler(request)


async def options(request: web.Request) -> web.Response:
    """What the server can do."""
    return web.Response(
        status=204,
        headers={
            "Tus-Version": VERSION,
            "Tus-Extension": ",".join(EXTENSIONS),
            "Tus-Max-Size": str(gateway_of(request).intake.limits.bounds.file),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        },
    )


async def _named(request: web.Request) -> Upload:
    upload = await tus_upload(request, request.match_info["upload"])
    await gateway_of(request).intake.records.refuse_ended(upload)
    return upload


async def head(request: web.Request) -> web.Response:
    """How far an upload is. Whoever was sending bytes of it is stopped, so that the answer stays true."""
    upload = await _named(request)
    if not tus_of(upload).final:
        upload = await gateway_of(request).writing.offset(upload)
        await gateway_of(request).intake.records.refuse_ended(upload)
    return web.Response(status=200, headers={**progress(upload), **expiry(upload), "Cache-Control": "no-store"})


async def patch(request: web.Request) -> web.Response:
    """Appends bytes at the upload's offset."""
    upload = await _named(request)
    if request.content_type != MEDIA:
        raise not_bytes(request.content_type)
    said = request.headers
    if "Upload-Offset" not in said:
        raise Invalid("The request does not say with Upload-Offset where its bytes belong.")
    offset = number("Upload-Offset", said["Upload-Offset"])
    total = number("Upload-Length", said["Upload-Length"]) if "Upload-Length" in said else None
    body = await open_body(request)
    upload = await gateway_of(request).writing.append(upload, offset, body, total=total, checksum=checksum_of(said))
    return web.Response(status=204, headers={"Upload-Offset": str(upload.stored), **expiry(upload)})


async def terminate(request: web.Request) -> web.Response:
    """Ends an upload and frees what it holds."""
    await gateway_of(request).writing.cancel(await tus_upload(request, request.match_info["upload"]))
    return web.Response(status=204)
