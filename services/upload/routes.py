"""The gateway's routes: one table, of which the application and docs/openapi.yaml are made."""

from typing import Literal

from aiohttp import HttpVersion11, web

from services.upload import accounts, events, files, page, sessions
from services.upload.admin.table import OPERATING
from services.upload.models import (
    AccountObject,
    ImageObject,
    ImagePage,
    ImageProgress,
    NewSession,
    SessionObject,
    SessionPage,
    SignInLink,
    UploadReply,
    UploadStatus,
)
from services.upload.route import API, LISTED, Route
from services.upload.stores.table import STORES
from services.upload.tus import routes as tus
from services.upload.tus.core import ADDRESS as TUS_ADDRESS
from services.upload.tus.core import MEDIA
from shared.http.problems import Problem

FILES = f"{API}/sessions/{{session}}/files"
UPLOADED = {
    "name": "The file's name, where neither the form nor Content-Disposition has one.",
    "_id": "The upload to go on with, as the first answer named it. Also a form field.",
    "md5": "What the whole file's MD5 must be, in hex or base64. Also a form field.",
    "sha256": "What the whole file's SHA-256 must be, in hex or base64. Also a form field.",
}
UPLOAD_HEADERS = {
    "Content-Range": "`bytes 0-499/1234`, ends inclusive. Without it: the whole file. `bytes */1234`, without a body, "
    "offers a file by its `sha256`: 201 if it is stored already, as an image of the session's owner, else 404 with "
    "`known: false`; then send it. `bytes */0` is an empty file.",
    "Content-Disposition": 'The file\'s name, as `attachment; filename="slide.svs"`.',
    "Idempotency-Key": "A first request sent again with the same key goes on with the same upload. Also a form field.",
    "Content-MD5": "MD5 of this request's bytes of the file, in hex or base64. Also a form field.",
    "Content-Digest": "Digests of this request's bytes of the file (RFC 9530). Also a form field.",
    "Repr-Digest": "Digests of the whole file (RFC 9530). Also a form field.",
}
TUS_HEADERS = {
    "Tus-Resumable": "`1.0.0`, the version of the protocol.",
    "Upload-Length": "The file's length in bytes.",
    "Upload-Defer-Length": "`1`: the length comes with a later request.",
    "Upload-Metadata": "`filename BASE64,session BASE64`, as claims of the whole file `sha256` and `md5`, "
    "and `folder`, where the file lies inside the folder that is sent, by which files of one name are told apart.",
    "Upload-Concat": "`partial` for a part of a file; `final;` and the addresses of its parts for the file.",
    "Upload-Offset": "Where the request's bytes belong: the upload's present offset.",
    "Upload-Checksum": "`md5 BASE64`, `sha1 BASE64` or `sha256 BASE64` of the request's bytes.",
    "X-HTTP-Method-Override": "`HEAD`, `PATCH`, `DELETE` or `OPTIONS`.",
}
SENT_BYTES = ("multipart/form-data", "application/octet-stream")


def _receiving(method: Literal["POST", "PUT"], path: str) -> Route:
    return Route(
        method,
        path,
        files.receive,
        "Send a range of a file, or a whole file; the first request of a file answers 201.",
        {201: UploadReply, 200: UploadReply},
        body=SENT_BYTES,
        query=UPLOADED,
        headers=UPLOAD_HEADERS,
    )


def _tus(
    method: Literal["HEAD", "POST", "PATCH", "DELETE", "OPTIONS"],
    summary: str,
    status: int,
    *headers: str,
    upload: bool = True,
    body: tuple[str, ...] | None = None,
) -> Route:
    path, handler = (f"{TUS_ADDRESS}{{upload}}", tus.single) if upload else (TUS_ADDRESS, tus.collection)
    said = {name: TUS_HEADERS.get(name) or UPLOAD_HEADERS[name] for name in headers}
    return Route(method, path, handler, summary, {status: None}, body=body, headers=said)


BYTES = (MEDIA,)
TUS: tuple[Route, ...] = (
    _tus("OPTIONS", "What this server can do by the tus protocol.", 204, upload=False),
    _tus(
        "POST",
        "Begin an upload by the tus protocol; its address is in the answer's Location.",
        201,
        "Tus-Resumable",
        "Upload-Length",
        "Upload-Defer-Length",
        "Upload-Metadata",
        "Upload-Concat",
        "Upload-Checksum",
        "Idempotency-Key",
        upload=False,
        body=BYTES,
    ),
    _tus("OPTIONS", "What this server can do by the tus protocol.", 204),
    _tus("HEAD", "Where to go on with an upload. A request that is bringing bytes of it ends.", 200, "Tus-Resumable"),
    _tus(
        "PATCH",
        "Append bytes at the upload's offset. What came of a request that broke off is kept.",
        204,
        "Tus-Resumable",
        "Upload-Offset",
        "Upload-Length",
        "Upload-Checksum",
        body=BYTES,
    ),
    _tus("DELETE", "End an upload and remove what there is of it.", 204, "Tus-Resumable"),
    _tus(
        "POST",
        "The other methods, for those who can send nothing but POST.",
        204,
        "X-HTTP-Method-Override",
        "Tus-Resumable",
        body=BYTES,
    ),
)

ROUTES: tuple[Route, ...] = (
    Route("GET", f"{API}/me", accounts.me, "Whose account this is.", {200: AccountObject}),
    Route("DELETE", f"{API}/me/session", accounts.sign_out, "Sign this browser out.", {204: None}),
    Route(
        "POST",
        f"{API}/signin-links",
        accounts.create_link,
        "Make an address that signs one browser in to the caller's account, once, within an hour.",
        {201: SignInLink},
    ),
    Route("POST", f"{API}/sessions", sessions.create_session, "Make a session.", {201: SessionObject}, body=NewSession),
    Route("GET", f"{API}/sessions", sessions.list_sessions, "The caller's sessions.", {200: SessionPage}, query=LISTED),
    Route("GET", f"{API}/sessions/{{session}}", sessions.get_session, "One session.", {200: SessionObject}),
    Route(
        "DELETE",
        f"{API}/sessions/{{session}}",
        sessions.delete_session,
        "Delete a session with all its images. There is no way back.",
        {204: None},
    ),
    Route(
        "GET",
        f"{API}/sessions/{{session}}/images",
        sessions.list_images,
        "The images of a session.",
        {200: ImagePage},
        query=LISTED,
    ),
    Route(
        "GET",
        f"{API}/sessions/{{session}}/events",
        events.stream,
        "Server-sent events: `image` for every image at connect, then for each that changes; `removed` with the `id` "
        "of an image that was deleted; `gone` when the session was, as the last one.",
        {200: ImageProgress},
        media="text/event-stream",
    ),
    Route("GET", f"{API}/images/{{image}}", sessions.get_image, "One image.", {200: ImageObject}),
    Route(
        "DELETE",
        f"{API}/images/{{image}}",
        sessions.delete_image,
        "Delete an image with its file and its tiles, also while it is sent or worked on. There is no way back.",
        {204: None},
    ),
    _receiving("POST", FILES),
    _receiving("PUT", FILES),
    _receiving("PUT", f"{FILES}/{{name}}"),
    Route("GET", f"{FILES}/{{upload}}", files.status, "What is stored of an upload.", {200: UploadStatus}),
    Route(
        "DELETE", f"{FILES}/{{upload}}", files.cancel, "Cancel an upload and remove what there is of it.", {204: None}
    ),
    *TUS,
    *STORES,
    *OPERATING,
    Route(
        "GET",
        "/signin/{code}",
        accounts.sign_in,
        "Sign this browser in with a one-time link, and go on to the page.",
        {303: None},
        open=True,
    ),
)

PAGES = (
    ("/", page.index),
    ("/index.html", page.index),
    ("/sessions/{id}", page.index),
    ("/images/{id}", page.index),
    ("/images/{id}/timeline", page.index),
    ("/pipeline", page.index),
    ("/stores", page.index),
    ("/favicon.svg", page.favicon),
    ("/assets/{name}", page.asset),
)


async def expectation(request: web.Request) -> web.StreamResponse | None:
    """Tells a client that asks first, as curl does, to send its body. Any other expectation can't be met."""
    if request.version < HttpVersion11:
        return None
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # What was written so far is no part of the answer's body.
        request.writer.output_size = 0
        return None
    return Problem(417, "Only 100-continue can be expected.", "Send the request without Expect.").response()


def add_routes(app: web.Application) -> None:
    """Adds them all; those for curl, whose address ends in a slash or in the file's name, too."""
    for route in ROUTES:
        # A HEAD request must not use up a one-time link.
        app.router.add_route(route.method, route.path, route.handler, expect_handler=expectation)
    app.router.add_route("PUT", f"{FILES}/", files.receive, expect_handler=expectation)
    for path, handler in PAGES:
        app.router.add_get(path, handler)
