"""Folder stores, the reports of their runs, and ticks: for administrators."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from services.upload.auditing import audited_run
from services.upload.core import Invalid
from services.upload.core.cursors import after, cursor
from services.upload.gateway import gateway_of, json_of, limit_of, principal_of
from services.upload.stores.claiming import KEPT, claim
from services.upload.stores.models import NewStore, NewTick, StoreChange
from services.upload.stores.objects import report_object, store_object, tick_object
from shared.bus import Message
from shared.errors import Unavailable
from shared.events import SyncTick
from shared.http.problems import Problem, not_found
from shared.store import In, Less, Store
from shared.store.documents.folders import FolderStore, Report
from shared.store.documents.ticks import Tick, newest_first
from shared.store.view import moment

PUBLISH_SECONDS = 15.0
# A tick is its due time, and that alone says where a page ends.
_NO_ID = "0" * 32


async def _named(store: Store, name: str) -> FolderStore:
    found = await store.stores.find({"name": name}, limit=1)
    if not found:
        raise Problem(404, f"There is no store '{name[:63]}'.", "List the stores, and name one of them.")
    return found[0]


async def _asked(request: web.Request) -> FolderStore:
    principal_of(request, "operate")
    return await _named(gateway_of(request).store, request.match_info["name"])


async def _audit(request: web.Request, action: str, name: str | None, root: str) -> None:
    run = audited_run(gateway_of(request), principal_of(request, "operate"), action, "", {"store": name, "root": root})
    await run.note(f"{name}: {root}")


async def _report_objects(store: Store, reports: Sequence[Report]) -> list[dict[str, Any]]:
    ticks = await store.ticks.find({"_id": In([report.tick for report in reports])}) if reports else []
    known = {tick.id: tick for tick in ticks}
    return [report_object(report, known.get(report.tick)) for report in reports]


async def _store_object(store: Store, watched: FolderStore) -> dict[str, Any]:
    newest = await store.reports.find({"store": watched.id}, sort="order", limit=1)
    last = await _report_objects(store, newest)
    return store_object(watched, last[0] if last else None)


async def create_store(request: web.Request) -> web.Response:
    """Watches a folder from the next tick on; what it makes belongs to the caller."""
    gateway = gateway_of(request)
    principal = principal_of(request, "operate")
    asked = await json_of(request, NewStore)
    watched = FolderStore(
        id=uuid.uuid4().hex,
        owner=principal.account,
        created=gateway.clock.now(),
        **asked.model_dump(),
    )
    await claim(gateway.store, watched)
    await _audit(request, "store-add", watched.name, watched.root)
    await gateway.store.stores.update(watched.id, when={"state": "paused"}, set={"state": "active"})
    return web.json_response(store_object(watched, None), status=201)


async def list_stores(request: web.Request) -> web.Response:
    """All stores."""
    principal_of(request, "operate")
    store = gateway_of(request).store
    limit, at = limit_of(request), request.query.get("cursor")
    found = await store.stores.find(
        {"state": In(KEPT)}, sort="created", after=after(at) if at else None, limit=limit + 1
    )
    items = [await _store_object(store, watched) for watched in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return web.json_response({"items": items, "next": cursor(last.created, last.id) if last else None})


async def get_store(request: web.Request) -> web.Response:
    """One store."""
    watched = await _asked(request)
    return web.json_response(await _store_object(gateway_of(request).store, watched))


async def change_store(request: web.Request) -> web.Response:
    """Pauses a store, or goes on with it: then what its folder is like is as it is meant to be."""
    watched = await _asked(request)
    asked = await json_of(request, StoreChange)
    store = gateway_of(request).store
    if asked.state != watched.state:
        await _audit(request, "store-pause" if asked.state == "paused" else "store-resume", watched.name, watched.root)
    anew = {"found": None} if asked.state != watched.state else {}
    changed = await store.stores.update(watched.id, when={"state": In(KEPT)}, set={"state": asked.state, **anew})
    if changed is None:
        raise not_found("store")
    return web.json_response(await _store_object(store, changed))


async def delete_store(request: web.Request) -> web.Response:
    """Watches the folder no longer. Its images stay; what was known of its files is forgotten by the next tick."""
    watched = await _asked(request)
    await _audit(request, "store-remove", watched.name, watched.root)
    await gateway_of(request).store.stores.update(watched.id, set={"state": "removed", "name": None})
    return web.Response(status=204)


async def list_reports(request: web.Request) -> web.Response:
    """The reports of a store's runs, the newest first."""
    watched = await _asked(request)
    store = gateway_of(request).store
    limit, at = limit_of(request), request.query.get("cursor")
    place = None
    if at:
        due, id = after(at)
        place = (newest_first(due), id)
    found = await store.reports.find({"store": watched.id}, sort="order", after=place, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    items = await _report_objects(store, found[:limit])
    return web.json_response({"items": items, "next": cursor(last.due, last.id) if last else None})


async def create_tick(request: web.Request) -> web.Response:
    """Looks at one store, or at all of them, and after the house, now."""
    gateway = gateway_of(request)
    principal_of(request, "operate")
    asked = await json_of(request, NewTick) if request.can_read_body else NewTick()
    only = await _named(gateway.store, asked.store) if asked.store is not None else None
    if only is not None and only.state == "paused":
        raise Problem(409, f"The store {only.name} is paused.", "Resume it first.")
    now = due = gateway.clock.now()
    while True:
        # Whole seconds are the timers': a tick of theirs must never be taken for this one.
        due += timedelta(milliseconds=1 if due.microsecond == 0 else 0)
        tick = Tick.at(due, store=only.id if only else None, started=now)
        if await gateway.store.ticks.insert(tick):
            break
        due += timedelta(milliseconds=1)
    event = SyncTick(database=gateway.database, time=due, due=due, store=only.id if only else None)
    try:
        async with asyncio.timeout(PUBLISH_SECONDS):
            await gateway.bus.publish([Message(event)])
    except (TimeoutError, Unavailable) as error:
        # Or it would read as running for ever. If it got through after all, the sync service makes it anew.
        await gateway.store.ticks.take(tick.id, when={"done": False})
        raise Unavailable("The broker did not confirm the tick.") from error
    told = tick_object(tick, only.name if only else None, [])
    return web.json_response(told, status=202, headers={"Location": f"/api/v1/ticks/{moment(due)}"})


async def list_ticks(request: web.Request) -> web.Response:
    """Ticks and what each caused, the newest first; with `?missed=true` only those that nobody did."""
    principal_of(request, "operate")
    store = gateway_of(request).store
    limit, at = limit_of(request), request.query.get("cursor")
    before = after(at)[0] if at else None
    place = (newest_first(before), before.isoformat()) if before is not None else None
    # Those that were done before ticks had an order are left out.
    where: dict[str, Any] = {"order": Less(0)}
    if request.query.get("missed") == "true":
        where |= {"done": False, "missed": True}
    found = await store.ticks.find(where, sort="order", after=place, limit=limit + 1)
    shown = found[:limit]
    reports = await store.reports.find({"tick": In([tick.id for tick in shown])}) if shown else []
    named = {watched.id: watched.name async for watched in store.stores.each({})}
    items = [
        tick_object(tick, named.get(tick.store or ""), [report for report in reports if report.tick == tick.id])
        for tick in shown
    ]
    last = shown[-1].due if len(found) > limit else None
    return web.json_response({"items": items, "next": cursor(last, _NO_ID) if last else None})


async def get_tick(request: web.Request) -> web.Response:
    """A tick and the reports of what it caused."""
    principal_of(request, "operate")
    store = gateway_of(request).store
    text = request.match_info["tick"]
    try:
        due = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"'{text[:40]}' is no time, by which ticks are named.") from None
    if due.tzinfo is None:
        raise Invalid(f"'{text[:40]}' does not say in which time zone it is.")
    tick = await store.ticks.get(due.astimezone(UTC).isoformat())
    if tick is None:
        raise not_found("tick")
    only = await store.stores.get(tick.store) if tick.store is not None else None
    reports = await store.reports.find({"tick": tick.id})
    return web.json_response(tick_object(tick, only.name if only else None, reports))
