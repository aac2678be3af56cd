"""The addresses of the tus protocol: /api/v1/tus/ and one below it for each upload."""

import uuid
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from services.upload.body import Broken, open_body
from services.upload.core import DigestName, Invalid, digest_hex
from services.upload.gateway import gateway_of, principal_of, session_named
from services.upload.tus.checks import tus_of, whole_part
from services.upload.tus.core import (
    ADDRESS,
    ALGORITHMS,
    EXTENSIONS,
    MEDIA,
    VERSION,
    Checksum,
    checksum,
    concatenation,
    declared_length,
    expires,
    location,
    metadata,
    number,
    progress,
    settled_chunk,
)
from shared.access import decide
from shared.blobs.seal import IDLE
from shared.http.problems import Problem, not_found, require
from shared.names import display_name
from shared.store.documents import Tus, Upload

Handler = Callable[[web.Request], Awaitable[web.Response]]
OVERRIDE = "X-HTTP-Method-Override"


async def resumable(request: web.Request, response: web.StreamResponse) -> None:
    """For `app.on_response_prepare`: every answer says which version of the protocol it speaks."""
    if request.path.startswith(ADDRESS):
        response.headers.setdefault("Tus-Resumable", VERSION)


async def collection(request: web.Request) -> web.Response:
    """What can be done at the address where uploads begin."""
    return await _answer(request, {"POST": create, "OPTIONS": options})


async def single(request: web.Request) -> web.Response:
    """What can be done with one upload."""
    return await _answer(request, {"HEAD": head, "PATCH": patch, "DELETE": terminate, "OPTIONS": options})


async def _answer(request: web.Request, handlers: Mapping[str, Handler]) -> web.Response:
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


async def create(request: web.Request) -> web.Response:
    """Begins an upload, a part of one, or makes one of its parts. The first bytes may come along."""
    gateway = gateway_of(request)
    concat = concatenation(request.headers.get("Upload-Concat"))
    if concat.parts and "Upload-Length" in request.headers:
        raise Invalid("A final upload is as long as its parts and takes no Upload-Length.")
    length = None if concat.parts else declared_length(request.headers)
    draft = await _draft(request, length, partial=concat.partial, parts=concat.parts)
    brings = request.can_read_body
    if brings and (concat.parts or request.content_type != MEDIA):
        raise _not_bytes(request)
    if concat.parts:
        upload = await gateway.joining.join(draft, [await _part(request, part) for part in concat.parts])
    elif length == 0 and not concat.partial:
        raise await gateway.intake.records.refuse_upload(draft, b"")
    else:
        upload = draft
        gateway.intake.limits.check_size(draft.name, draft.total)
        await gateway.intake.limits.admit(draft)
    if brings:
        upload = await _first_bytes(request, draft)
    headers = {"Location": location(upload.id), **_expiry(upload)}
    return web.Response(status=201, headers={**headers, "Upload-Offset": str(upload.stored)} if brings else headers)


async def _first_bytes(request: web.Request, upload: Upload) -> Upload:
    writing = gateway_of(request).writing
    try:
        return await writing.append(upload, 0, await open_body(request), checksum=_checksum(request))
    except (Broken, Invalid, Problem):
        # Nobody was told of it. What was refused for its content stays, to be seen as failed.
        await writing.forget(upload)
        raise


async def _draft(request: web.Request, length: int | None, *, partial: bool, parts: tuple[str, ...]) -> Upload:
    """A new upload as the request describes it. Parts need neither a name nor a session."""
    header = request.headers.get("Upload-Metadata", "")
    said = metadata(header)
    name = display_name(said.get("filename") or said.get("name") or "")
    if name is None and not partial:
        raise Invalid("Upload-Metadata has no filename.")
    if not said.get("session") and not partial:
        raise Invalid("Upload-Metadata has no session, which is the id of the session that the file belongs to.")
    session = (await session_named(request, said["session"], "change")).id if said.get("session") else ""
    names: tuple[DigestName, ...] = ("md5", "sha256")
    claims = {f"claimed_{digest}": digest_hex(digest, said[digest]) for digest in names if said.get(digest)}
    gateway = gateway_of(request)
    now = gateway.clock.now()
    return Upload(
        id=uuid.uuid4().hex,
        session=session,
        image=uuid.uuid4().hex,
        version=1,
        owner=principal_of(request).account,
        name=name or "part",
        total=length or 0,
        chunk=settled_chunk(None, None),
        tus=Tus(
            metadata=header,
            deferred=length is None and not parts,
            partial=partial,
            final=bool(parts),
            parts=parts,
        ),
        created=now,
        updated=now,
        **claims,
    )


async def _part(request: web.Request, id: str) -> Upload:
    return whole_part(await _known(request, id), id)


async def _known(request: web.Request, id: str) -> Upload:
    """The tus upload of this id, if this account may go on with it; else 404."""
    store = gateway_of(request).store
    upload = await store.uploads.get(id)
    if upload is None or upload.tus is None:
        raise not_found("upload")
    session = await store.sessions.get(upload.session) if upload.session else None
    owner = upload.owner if not upload.session else session.owner if session else None
    require(decide(principal_of(request), "change", owner), "upload")
    return upload


async def _named(request: web.Request) -> Upload:
    upload = await _known(request, request.match_info["upload"])
    await gateway_of(request).intake.records.refuse_ended(upload)
    return upload


async def head(request: web.Request) -> web.Response:
    """How far an upload is. Whoever was sending bytes of it is stopped, so that the answer stays true."""
    upload = await _named(request)
    if not tus_of(upload).final:
        upload = await gateway_of(request).writing.offset(upload)
        await gateway_of(request).intake.records.refuse_ended(upload)
    return web.Response(status=200, headers={**progress(upload), **_expiry(upload), "Cache-Control": "no-store"})


async def patch(request: web.Request) -> web.Response:
    """Appends bytes at the upload's offset."""
    upload = await _named(request)
    if request.content_type != MEDIA:
        raise _not_bytes(request)
    said = request.headers
    if "Upload-Offset" not in said:
        raise Invalid("The request does not say with Upload-Offset where its bytes belong.")
    offset = number("Upload-Offset", said["Upload-Offset"])
    total = number("Upload-Length", said["Upload-Length"]) if "Upload-Length" in said else None
    body = await open_body(request)
    upload = await gateway_of(request).writing.append(upload, offset, body, total=total, checksum=_checksum(request))
    return web.Response(status=204, headers={"Upload-Offset": str(upload.stored), **_expiry(upload)})


async def terminate(request: web.Request) -> web.Response:
    """Ends an upload and frees what it holds."""
    await gateway_of(request).writing.cancel(await _known(request, request.match_info["upload"]))
    return web.Response(status=204)


def _checksum(request: web.Request) -> Checksum | None:
    header = request.headers.get("Upload-Checksum")
    return checksum(header) if header is not None else None


def _expiry(upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": expires(upload.updated, IDLE)} if upload.state == "receiving" else {}


def _not_bytes(request: web.Request) -> Problem:
    return Problem(
        415,
        f"A body of type '{request.content_type}' can't be taken here.",
        f"Send bytes of the file as {MEDIA}, and none with a final upload.",
    )
