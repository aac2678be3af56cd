"""The gateway as an aiohttp application, made of its parts; tests make it with others."""

from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from services.upload.admin.graveyard import Graveyard
from services.upload.admin.pipeline import Overview
from services.upload.announcer import Announcer
from services.upload.budget import Budget
from services.upload.files import understood
from services.upload.gateway import GATEWAY, Gateway
from services.upload.intake import Intake
from services.upload.limits import Bounds, Limits
from services.upload.removing import Removing
from services.upload.routes import add_routes
from services.upload.tus.joining import Joining
from services.upload.tus.routes import resumable, unanswered
from services.upload.tus.writing import Writing
from services.upload.watching import Watching
from shared.blobs import Blobs
from shared.bus import Bus
from shared.bus.journal import Journal
from shared.bus.letters import DeadLetters
from shared.clock import Clock
from shared.http.headers import secure
from shared.http.identity import identity
from shared.http.problems import problems
from shared.remembered import Remembered
from shared.store import Store
from shared.tiles import Tiles

BYTES_IN_FLIGHT = 48 * 1024 * 1024
PAGE = Path(__file__).parent / "web" / "dist"


def make_gateway(
    *,
    store: Store,
    blobs: Blobs,
    tiles: Tiles,
    bus: Bus,
    letters: DeadLetters,
    journal: Journal,
    clock: Clock,
    database: str,
    public_url: str,
    stores: Mapping[str, Store] | None = None,
    bounds: Bounds | None = None,
    page: Path = PAGE,
) -> Gateway:
    """The gateway's parts around these stores and this bus.

    `stores` are all databases by name that the deployment serves, for dead letters about any of them; by default that
    is `database` alone.
    """
    announcer = Announcer(store, bus)
    graveyard = Graveyard(letters, bus, stores or {database: store}, clock)
    removing = Removing(store, blobs, tiles, clock)
    intake = Intake(
        store=store,
        blobs=blobs,
        announcer=announcer,
        removing=removing,
        limits=Limits(store, clock, bounds or Bounds()),
        clock=clock,
        database=database,
        budget=Budget(BYTES_IN_FLIGHT),
    )
    return Gateway(
        store=store,
        blobs=blobs,
        clock=clock,
        intake=intake,
        writing=Writing(store, blobs, intake, clock),
        joining=Joining(store, blobs, intake, clock),
        announcer=announcer,
        removing=removing,
        watching=Watching(store),
        sessions=Remembered(clock),
        bus=bus,
        database=database,
        journal=journal,
        graveyard=graveyard,
        overview=Overview(store, bus, graveyard, clock),
        public_url=public_url,
        page=page,
    )


def make_app(gateway: Gateway) -> web.Application:
    """The application, without health routes."""
    app = web.Application(middlewares=[problems, unanswered, understood, identity(gateway.store, gateway.clock)])
    app[GATEWAY] = gateway
    app.on_response_prepare.append(secure)
    app.on_response_prepare.append(resumable)
    add_routes(app)

    async def end_streams(_: web.Application) -> None:
        gateway.watching.close()

    async def end_work(_: web.Application) -> None:
        await gateway.removing.close()
        await gateway.graveyard.close()
        await gateway.announcer.close()

    app.on_shutdown.append(end_streams)
    app.on_cleanup.append(end_work)
    return app
