"""Who am I, signing a browser in by a one-time link, and signing it out."""

import html
import secrets
from datetime import timedelta

from aiohttp import web

from services.upload.gateway import gateway_of, principal_of
from shared.http import identity
from shared.http.problems import Problem
from shared.store import Greater
from shared.store.documents.accounts import SignIn
from shared.store.view import moment

LINK_LIFETIME = timedelta(hours=1)


async def me(request: web.Request) -> web.Response:
    """The account behind the request."""
    principal = principal_of(request)
    return web.json_response({"id": principal.account, "name": principal.name, "admin": principal.admin})


async def sign_out(request: web.Request) -> web.Response:
    """Ends the browser's session; its cookie is worth nothing from here on."""
    principal = principal_of(request)
    if principal.via != "browser":
        raise Problem(409, "This request came with a bearer token, not from a signed-in browser.", "Sign out there.")
    await gateway_of(request).store.tokens.take(principal.token)
    response = web.Response(status=204)
    response.del_cookie(identity.COOKIE, path="/", httponly=True, samesite="Strict")
    return response


async def create_link(request: web.Request) -> web.Response:
    """Makes a link that signs a browser in to the caller's own account, once, within an hour."""
    gateway = gateway_of(request)
    principal = principal_of(request)
    if principal.via != "api":
        raise Problem(403, "A signed-in browser can't make sign-in links.", "Make one with ./slidemill signin.")
    code = secrets.token_urlsafe(32)
    expires = gateway.clock.now() + LINK_LIFETIME
    await gateway.store.signins.insert(
        SignIn(id=identity.fingerprint(code), account=principal.account, expires=expires)
    )
    url = f"{gateway.public_url.rstrip('/')}/signin/{code}"
    return web.json_response({"url": url, "expires": moment(expires)}, status=201)


async def sign_in(request: web.Request) -> web.Response:
    """Takes a link's code, sets the browser's cookie and goes on to the page."""
    gateway = gateway_of(request)
    taken = await gateway.store.signins.take(
        identity.fingerprint(request.match_info["code"]), when={"expires": Greater(gateway.clock.now())}
    )
    if taken is None:
        # A link that is opened a second time by somebody who is signed in already shall do no harm.
        if await identity.principal_of(request, gateway.store, gateway.clock) is None:
            return _worn_out(request)
        return _to_page()
    secret = await identity.issue_browser_token(gateway.store, taken.account, gateway.clock)
    response = _to_page()
    response.set_cookie(
        identity.COOKIE,
        secret,
        max_age=int(identity.BROWSER_LIFETIME.total_seconds()),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=gateway.public_url.startswith("https://"),
    )
    return response


def _to_page() -> web.Response:
    return web.Response(status=303, headers={"Location": "/", "Cache-Control": "no-store"})


def _worn_out(request: web.Request) -> web.Response:
    problem = Problem(
        410, "This sign-in link was used before, or is older than an hour.", "Make a new one with ./slidemill signin."
    )
    if "text/html" not in request.headers.get("Accept", ""):
        return problem.response()
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Sign in · slidemill</title>'
        '<link rel="icon" href="/favicon.svg" type="image/svg+xml">'
        f"<h1>{html.escape(problem.detail)}</h1><p>{html.escape(problem.remedy)}</p></html>"
    )
    return web.Response(status=410, text=text, content_type="text/html", headers={"Cache-Control": "no-store"})
