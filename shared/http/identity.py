"""Who is behind a request: a bearer token, or the browser's cookie. Secrets are kept as their SHA-256 only."""

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from shared.access import Principal
from shared.clock import Clock
from shared.http.problems import Handler, Problem
from shared.remembered import Remembered
from shared.store import Store
from shared.store.documents.accounts import Account, Token

COOKIE = "slidemill"
PRINCIPAL: web.RequestKey[Principal | None] = web.RequestKey("principal", Principal)
BROWSER_LIFETIME = timedelta(days=30)
FIRST_ADMIN = uuid.uuid5(uuid.UUID("8a0cfb0e-98fb-4f0b-8b1f-35e0f6f2a2ab"), "first administrator").hex
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
PROTECTED = ("/api/", "/iiif/", "/tus/")


def fingerprint(secret: str) -> str:
    """What is stored of a secret: its SHA-256 in hex. Secrets are random and long, so nothing slower is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


async def ensure_admin(store: Store, token: str, clock: Clock) -> Account:
    """Makes the first administrator's account, and `token` its bearer token. Harmless when repeated."""
    now = clock.now()
    await store.accounts.insert(Account(id=FIRST_ADMIN, name="admin", admin=True, created=now))
    await store.tokens.insert(Token(id=fingerprint(token), account=FIRST_ADMIN, kind="api", created=now))
    account = await store.accounts.get(FIRST_ADMIN)
    if account is None:
        raise RuntimeError("The administrator's account was deleted while it was being made; start again.")
    return account


async def issue_browser_token(store: Store, account: str, clock: Clock) -> str:
    """Signs a browser in: returns the secret for its cookie."""
    secret = secrets.token_urlsafe(32)
    now = clock.now()
    await store.tokens.insert(
        Token(id=fingerprint(secret), account=account, kind="browser", created=now, expires=now + BROWSER_LIFETIME)
    )
    return secret


async def authenticate(store: Store, secret: str, kind: Literal["api", "browser"], clock: Clock) -> Principal | None:
    """The account that a secret of this kind stands for; None if it is unknown or too old."""
    token = await store.tokens.get(fingerprint(secret))
    if token is None or token.kind != kind or (token.expires is not None and token.expires <= clock.now()):
        return None
    account = await store.accounts.get(token.account)
    if account is None:
        return None
    return Principal(account.id, account.name, account.admin, token.id, token.kind)


async def principal_of(request: web.Request, store: Store, clock: Clock) -> Principal | None:
    """Who sent this request. An Authorization header counts alone: a wrong token never falls back to the cookie."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, secret = header.partition(" ")
        return await authenticate(store, secret.strip(), "api", clock) if scheme.lower() == "bearer" else None
    cookie = request.cookies.get(COOKIE)
    return await authenticate(store, cookie, "browser", clock) if cookie else None


def _from_this_site(request: web.Request) -> bool:
    """Whether a browser says that our own page made this request: Sec-Fetch-Site, else Origin (OWASP CSRF sheet)."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("Host")


def identity(store: Store, clock: Clock) -> Middleware:
    """Middleware that sets `request[PRINCIPAL]` to the `Principal` or None, and refuses forged requests.

    Addresses outside `PROTECTED` (page, health, sign-in links) are open to everybody and never wait for the database.
    A token is remembered for a moment, since a client sends many ranges of a file in a second; a browser's cookie is
    not, since its owner may sign out.
    """
    remembered: Remembered[str, Principal | None] = Remembered(clock)

    async def known(request: web.Request) -> Principal | None:
        header = request.headers.get("Authorization")
        if header is None:
            return await principal_of(request, store, clock)
        return await remembered.found(fingerprint(header), lambda: principal_of(request, store, clock))

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        principal = await known(request) if request.path.startswith(PROTECTED) else None
        request[PRINCIPAL] = principal
        cookie = principal is not None and principal.via == "browser"
        if cookie and request.method not in SAFE_METHODS and not _from_this_site(request):
            raise Problem(
                403,
                "This request came with a browser's cookie, but not from slidemill's own page.",
                "Use slidemill's page, or send a bearer token.",
            )
        return await handler(request)

    return middleware
