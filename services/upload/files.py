"""Content-Range uploads: the routes below /sessions/{session}/files."""

from typing import Any

from aiohttp import web

from services.upload.body import Body, Broken, open_body
from services.upload.core import Invalid
from services.upload.core.digests import DIGEST_BYTES, DigestName, digest_field, digest_hex
from services.upload.core.disposition import header_filename
from services.upload.core.keys import idempotency_key
from services.upload.core.ranges import content_range
from services.upload.core.spans import stored_bytes
from services.upload.gateway import gateway_of, principal_of, session_of
from services.upload.sending import Receipt, Sending
from shared.http.problems import Problem
from shared.names import display_name
from shared.store.documents.images import Session
from shared.store.documents.uploads import Upload


async def receive(request: web.Request) -> web.Response:
    """Takes one range of a file, or a whole file."""
    principal = principal_of(request)
    session = await session_of(request, "change", remembered="_id" in request.query)
    body = await open_body(request)
    sending = sending_of(request, session, principal.account, body)
    receipt = await gateway_of(request).intake.receive(sending, body)
    return web.json_response(reply(receipt), status=201 if receipt.created else 200)


def sending_of(request: web.Request, session: Session, account: str, body: Body) -> Sending:
    """What a request says about its body, in headers, query and form fields."""
    said = {**request.query, **body.fields}

    def told(name: str) -> str:
        return request.headers.get(name) or said.get(name) or ""

    header = request.headers.get("Content-Range")
    part = content_range(header) if header is not None else None
    claims = digest_field(told("Repr-Digest"))
    for name in DIGEST_BYTES:
        if said.get(name):
            _claim(claims, name, said[name])
    range_claims = digest_field(told("Content-Digest"))
    if told("Content-MD5"):
        _claim(range_claims, "md5", told("Content-MD5"))
    key = told("Idempotency-Key") or said.get("idempotency_key")
    if part is None:
        for name, value in range_claims.items():
            _claim(claims, name, value)
        range_claims = {}
    return Sending(
        session=session,
        account=account,
        name=name_of(request, body),
        upload=said.get("_id") or None,
        key=idempotency_key(key) if key else None,
        span=part.span if part else None,
        total=part.total if part else None,
        claims=claims,
        range_claims=range_claims,
    )


def _claim(claims: dict[DigestName, str], name: DigestName, value: str) -> None:
    digest = digest_hex(name, value)
    if claims.setdefault(name, digest) != digest:
        raise Invalid(f"The {name} is said to be {digest}, and {claims[name]} in the same request.")


def name_of(request: web.Request, body: Body) -> str | None:
    """The file's name: the form's, the request's own, or the address's. Forms call a nameless piece `blob`."""
    header = header_filename(request.headers.get("Content-Disposition", ""))
    given = (
        None if body.name == "blob" else body.name,
        header,
        body.fields.get("name"),
        request.query.get("name"),
        request.match_info.get("name"),
        body.name,
    )
    return next((shown for name in given if name and (shown := display_name(name))), None)


def _digests(upload: Upload, md5: str | None, sha256: str | None, hashed: int) -> dict[str, Any]:
    if upload.md5 is not None and upload.sha256 is not None:
        return {"md5": upload.md5, "sha256": upload.sha256, "hashed": upload.total}
    return {"md5": md5 if hashed else None, "sha256": sha256 if hashed else None, "hashed": hashed}


def _is_done(upload: Upload) -> bool:
    return upload.state in ("verifying", "complete")


def reply(receipt: Receipt) -> dict[str, Any]:
    """The answer to a range."""
    upload, digests = receipt.upload, receipt.digests
    return {
        "_id": upload.id,
        "image": upload.image,
        "start": receipt.span.start,
        "end": receipt.span.stop - 1,
        "total": upload.total,
        "done": _is_done(upload),
        **_digests(upload, digests.md5, digests.sha256, digests.length),
        "state": upload.state,
    }


async def _upload_of(request: web.Request, session: Session) -> Upload:
    return await gateway_of(request).intake.find(session, request.match_info["upload"])


async def status(request: web.Request) -> web.Response:
    """What is stored of an upload, counted exactly."""
    intake = gateway_of(request).intake
    upload, spans = await intake.ending.look(await _upload_of(request, await session_of(request, "see")))
    digests = intake.running.of(upload.id)
    return web.json_response(
        {
            "_id": upload.id,
            "image": upload.image,
            "name": upload.name,
            "total": upload.total or None,
            "chunk": upload.chunk,
            "stored": stored_bytes(spans),
            "ranges": [{"start": span.start, "end": span.stop - 1} for span in spans],
            "done": _is_done(upload),
            **_digests(upload, digests.md5, digests.sha256, digests.length),
            "state": upload.state,
        }
    )


async def cancel(request: web.Request) -> web.Response:
    """Ends an upload that is not whole yet, and deletes its image."""
    intake = gateway_of(request).intake
    await intake.refusing.cancel(await _upload_of(request, await session_of(request, "change")))
    return web.Response(status=204)


@web.middleware
async def understood(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answers 400 to what can't be understood, or breaks off."""
    try:
        response: web.StreamResponse = await handler(request)
    except Invalid as error:
        raise Problem(400, str(error), "Correct the request and send it again.") from None
    except Broken:
        raise Problem(400, "The connection broke before the body was complete.", "Send this range again.") from None
    return response
