"""Begins an upload by the tus protocol: what its first request says, and what becomes of it."""

from aiohttp import web

from services.upload.body import Broken, open_body
from services.upload.core import Invalid
from services.upload.core.digests import DigestName, digest_hex
from services.upload.core.keys import idempotency_key
from services.upload.gateway import gateway_of, principal_of, session_named, tus_upload
from services.upload.sending import Sending
from services.upload.tus.checks import expiry, not_bytes, tus_of, whole_part
from services.upload.tus.core import (
    MEDIA,
    Concatenation,
    checksum_of,
    concatenation,
    declared_length,
    location,
    metadata,
    settled_chunk,
)
from shared.http.problems import Problem
from shared.names import display_folder, display_name
from shared.store.documents.images import Session
from shared.store.documents.uploads import Tus, Upload

# What becomes of an upload after its first request.
STATE = {"token": 0, "sized": False, "deferred": False}


async def create(request: web.Request) -> web.Response:
    """Begins an upload, a part of one, or makes one of its parts. The first bytes may come along."""
    concat = concatenation(request.headers.get("Upload-Concat"))
    if concat.parts and "Upload-Length" in request.headers:
        raise Invalid("A final upload is as long as its parts and takes no Upload-Length.")
    brings = request.can_read_body
    if brings and (concat.parts or request.content_type != MEDIA):
        raise not_bytes(request.content_type)
    length = None if concat.parts else declared_length(request.headers)
    sending = await _sending(request, length, concat)
    if concat.parts:
        upload = await _joined(request, sending, concat.parts)
    elif length == 0 and not concat.partial:
        raise await gateway_of(request).intake.refusing.refuse(sending, b"")
    else:
        upload = await _begun(request, sending, brings)
    headers = {"Location": location(upload.id), **expiry(upload)}
    if upload.stored or brings:
        headers["Upload-Offset"] = str(upload.stored)
    return web.Response(status=201, headers=headers)


async def _sending(request: web.Request, length: int | None, concat: Concatenation) -> Sending:
    """What the request says. Parts need neither a name nor a session: without one they are their sender's."""
    account = principal_of(request).account
    header = request.headers.get("Upload-Metadata", "")
    said = metadata(header)
    name = display_name(said.get("filename") or said.get("name") or "")
    if name is None and not concat.partial:
        raise Invalid("Upload-Metadata has no filename.")
    if said.get("session"):
        session = await session_named(request, said["session"], "change")
    elif concat.partial:
        session = Session(id="", title="", owner=account, created=gateway_of(request).clock.now())
    else:
        raise Invalid("Upload-Metadata has no session, which is the id of the session that the file belongs to.")
    names: tuple[DigestName, ...] = ("md5", "sha256")
    key = request.headers.get("Idempotency-Key")
    return Sending(
        session=session,
        account=account,
        name=name or "part",
        folder=display_folder(said.get("folder", "")),
        key=idempotency_key(key) if key else None,
        total=length,
        claims={digest: digest_hex(digest, said[digest]) for digest in names if said.get(digest)},
        tus=Tus(
            metadata=header,
            deferred=length is None and not concat.parts,
            partial=concat.partial,
            final=bool(concat.parts),
            parts=concat.parts,
        ),
    )


async def _joined(request: web.Request, sending: Sending, ids: tuple[str, ...]) -> Upload:
    parts = [whole_part(await tus_upload(request, id), id) for id in ids]
    gateway = gateway_of(request)
    draft = gateway.intake.records.draft(sending, 0, settled_chunk(None, None))
    return await gateway.joining.join(draft, parts) or await _earlier(request, draft)


async def _begun(request: web.Request, sending: Sending, brings: bool) -> Upload:
    """A new upload with what bytes came along, the one that was begun with this key, or a file that is known."""
    intake = gateway_of(request).intake
    draft = intake.records.draft(sending, sending.total or 0, settled_chunk(None, None))
    intake.limits.check_size(draft.name, draft.total)
    shareable = sending.total is not None and sending.session.id
    known = await intake.known.take(sending, draft.total) if shareable else None
    if known is not None:
        return known
    if not await intake.limits.admit(draft):
        return await _earlier(request, draft)
    return await _first_bytes(request, draft) if brings else draft


async def _earlier(request: web.Request, draft: Upload) -> Upload:
    """The upload that an earlier request with the same key began."""
    earlier = await tus_upload(request, draft.id)
    await gateway_of(request).intake.records.refuse_ended(earlier)
    if tus_of(earlier).model_copy(update=STATE) != tus_of(draft).model_copy(update=STATE):
        raise Problem(422, f"This Idempotency-Key was used before, for {earlier.name}.", "Use a new key for each file.")
    return earlier


async def _first_bytes(request: web.Request, upload: Upload) -> Upload:
    writing = gateway_of(request).writing
    try:
        return await writing.append(upload, 0, await open_body(request), checksum=checksum_of(request.headers))
    except (Broken, Invalid, Problem):
        # Without a key nobody can go on with it. What was refused for its content stays, to be seen as failed.
        if upload.key is None:
            await writing.forget(upload)
        raise
