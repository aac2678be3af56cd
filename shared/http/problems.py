"""Errors as HTTP answers: problem details (RFC 9457) with a remedy, for every error of every route."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from shared.access import Decision
from shared.errors import Reject, Unavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger()

# Statuses that only some protocols know.
PHRASES = {460: "Checksum Mismatch"}
REMEDIES = {
    400: "Correct the request and send it again.",
    404: "Check the address; what you look for may have been deleted, or belong to someone else.",
    405: "Use one of the methods that the Allow header names.",
    413: "Send a smaller request.",
}


class Problem(Exception):
    """An error answer. `detail` says what is wrong with what, `remedy` what to do: one sentence each.

    `extra` members are added to the JSON body, `headers` to the answer's headers.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str,
        *,
        type: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.type = type
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def response(self) -> web.Response:
        """The answer as application/problem+json."""
        body = {
            "type": self.type,
            "title": PHRASES.get(self.status) or HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
            **self.extra,
        }
        return web.json_response(
            body,
            status=self.status,
            reason=PHRASES.get(self.status),
            headers=self.headers,
            content_type="application/problem+json",
        )


def not_found(what: str) -> Problem:
    """404 for something that does not exist, or not for this account: the two look the same."""
    return Problem(404, f"There is no such {what}.", "It may have been deleted, or it belongs to someone else.")


def sign_in() -> Problem:
    """401: nobody is signed in."""
    return Problem(
        401,
        "Nobody is signed in.",
        "Send a bearer token, or open a sign-in link made by ./slidemill signin.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def require(decision: Decision, what: str) -> None:
    """Raises the problem that a decision other than ALLOW stands for; `what` names the thing, such as `session`."""
    if decision is Decision.SIGN_IN:
        raise sign_in()
    if decision is Decision.HIDE:
        raise not_found(what)
    if decision is Decision.FORBID:
        raise Problem(403, "Only administrators may do this.", "Ask an administrator of this slidemill.")


def _of_http_error(error: web.HTTPException) -> web.Response:
    kept = {name: error.headers[name] for name in ("Allow", "WWW-Authenticate") if name in error.headers}
    if error.status == 404:
        detail = "There is nothing at this address."
    elif error.status == 405:
        detail = "This address does not take this method."
    else:
        detail = f"{error.text or error.reason}".rstrip(".") + "."
    remedy = REMEDIES.get(error.status, REMEDIES[400] if error.status < 500 else "Try again in a moment.")
    return Problem(error.status, detail, remedy, headers=kept).response()


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a route raises into problem details; the outermost middleware."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _of_http_error(error)
    except Unavailable as error:
        log.warning("unavailable", method=request.method, path=request.path, error=str(error))
        return Problem(
            503,
            "A part that slidemill needs can't be reached at the moment.",
            "Try again in a few seconds.",
            headers={"Retry-After": "2"},
        ).response()
    except Reject as error:
        return Problem(422, error.reason, error.remedy).response()
    except Exception:
        log.exception("request failed", method=request.method, path=request.path)
        return Problem(
            500,
            "slidemill made a mistake while answering this request.",
            "Try again; if it stays, send the operator the time and this address.",
        ).response()
