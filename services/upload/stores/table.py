"""The routes about folder stores and ticks."""

from services.upload.route import API, LISTED, Route
from services.upload.stores import routes
from services.upload.stores.models import (
    NewStore,
    NewTick,
    ReportPage,
    StoreChange,
    StoreObject,
    StorePage,
    TickObject,
    TickPage,
)

STORE = f"{API}/stores/{{name}}"
STORES: tuple[Route, ...] = (
    Route("GET", f"{API}/stores", routes.list_stores, "All folder stores.", {200: StorePage}, query=LISTED),
    Route(
        "POST",
        f"{API}/stores",
        routes.create_store,
        "Watch a folder from the next tick on. What it makes belongs to the caller.",
        {201: StoreObject},
        body=NewStore,
    ),
    Route("GET", STORE, routes.get_store, "One folder store.", {200: StoreObject}),
    Route("PATCH", STORE, routes.change_store, "Pause a store, or resume it.", {200: StoreObject}, body=StoreChange),
    Route("DELETE", STORE, routes.delete_store, "Watch the folder no longer. Its images stay.", {204: None}),
    Route(
        "GET",
        f"{STORE}/reports",
        routes.list_reports,
        "The reports of a store's runs, the newest first.",
        {200: ReportPage},
        query=LISTED,
    ),
    Route(
        "GET",
        f"{API}/ticks",
        routes.list_ticks,
        "Ticks and what each caused, the newest first.",
        {200: TickPage},
        query={**LISTED, "missed": "`true`: only those that nobody did."},
    ),
    Route(
        "POST",
        f"{API}/ticks",
        routes.create_tick,
        "Look at one store, or at all of them, and after the house, now.",
        {202: TickObject},
        body=NewTick,
    ),
    Route("GET", f"{API}/ticks/{{tick}}", routes.get_tick, "A tick and what it caused.", {200: TickObject}),
)
