"""What administrators ask and do over HTTP. What is done by hand is audited first, as on the command line."""

import asyncio
from contextlib import aclosing
from typing import Any, Literal

from aiohttp import web

from services.upload.admin.graveyard import Busy, Run
from services.upload.admin.models import Anew, Because, Discarding, Retrying
from services.upload.admin.past import timeline
from services.upload.auditing import audited_run
from services.upload.gateway import Gateway, gateway_of, image_of, json_of, limit_of, principal_of
from shared import replay
from shared.audit import Audited
from shared.bus.topology import STAGES
from shared.dead import Selection
from shared.errors import SlidemillError, Unavailable
from shared.events import Event
from shared.http.problems import Problem, not_found
from shared.replay import NothingToReplay
from shared.reprocess import CannotReprocess, finish_again, renew, set_going
from shared.store.documents.images import Image
from shared.store.documents.versions import VersionId

JOURNAL_SECONDS = 8.0


async def pipeline(request: web.Request) -> web.Response:
    """The pipeline at this moment."""
    principal_of(request, "operate")
    return web.json_response(await gateway_of(request).overview.look())


async def list_dead(request: web.Request) -> web.Response:
    """The groups of dead letters."""
    principal_of(request, "operate")
    stage = request.query.get("stage")
    if stage is not None and stage not in STAGES:
        raise Problem(400, f"There is no stage '{stage[:40]}'.", f"Name one of {', '.join(STAGES)}, or none.")
    return web.json_response({"items": await gateway_of(request).graveyard.groups(stage), "next": None})


async def show_dead(request: web.Request) -> web.Response:
    """The letters of a group, or one letter, whole."""
    principal_of(request, "operate")
    limit = limit_of(request)
    found = await gateway_of(request).graveyard.show(request.match_info["name"], limit)
    if not found:
        raise not_found("dead letter or group")
    return web.json_response({"items": found, "next": None})


async def retry_dead(request: web.Request) -> web.Response:
    """Sends dead letters again."""
    principal = principal_of(request, "operate")
    asked = await json_of(request, Retrying)
    gateway, selection = gateway_of(request), _selection(asked)
    audited = audited_run(gateway, principal, "dead-retry", asked.reason, selection.told())
    return await _answer(gateway.graveyard.retry(selection, audited), selection)


async def discard_dead(request: web.Request) -> web.Response:
    """Throws dead letters away."""
    principal = principal_of(request, "operate")
    asked = await json_of(request, Discarding)
    gateway, selection = gateway_of(request), _selection(asked)
    audited = audited_run(gateway, principal, "dead-discard", asked.reason, selection.told())
    return await _answer(gateway.graveyard.discard(selection, audited), selection)


def _selection(asked: Retrying) -> Selection:
    if asked.all == bool(asked.names):
        raise Problem(400, "Neither letters nor groups are named, or both they and all.", "Send names, or all: true.")
    return Selection(frozenset(asked.names), asked.all, asked.stage)


async def _answer(running: Any, selection: Selection) -> web.Response:
    try:
        run: Run = await running
    except Busy as refusal:
        raise Problem(409, str(refusal), "Wait until that has ended, then look again.") from None
    ended = run.work.done()
    if ended and run.audited.noted == 0 and not selection.everything:
        raise not_found("dead letter or group")
    told = {"count": run.audited.noted, "ended": ended, "audit": run.audited.run}
    return web.json_response(told, status=200 if ended else 202)


async def retry_image(request: web.Request) -> web.Response:
    """Lets an image go on where it failed or stands."""
    principal = principal_of(request, "operate")
    image = await image_of(request, "change")
    asked = await json_of(request, Because)
    gateway = gateway_of(request)
    audited = audited_run(gateway, principal, "replay", asked.reason, {"image": image.id})
    found = replay.of_images([image.id], {gateway.database: gateway.store}, clock=gateway.clock, dry_run=False)
    try:
        (sent,) = [one async for one in found]
    except NothingToReplay as refusal:
        raise Problem(409, str(refusal), "Send the file again.") from None
    await replay.send(sent, gateway.bus, audited)
    return await _gone_on(gateway, image, audited)


async def reprocess_image(request: web.Request) -> web.Response:
    """Makes a further version of an image, or its small pictures anew."""
    principal = principal_of(request, "operate")
    image = await image_of(request, "change")
    asked = await json_of(request, Anew)
    gateway = gateway_of(request)
    audited = audited_run(gateway, principal, "reprocess", asked.reason, {"image": image.id, "from": asked.start})
    await audited.note(image.id, image.id)
    try:
        if asked.start == "finish":
            version = await finish_again(gateway.store, image.id, gateway.clock)
        else:
            version = await renew(gateway.store, gateway.blobs, image.id, gateway.clock)
    except CannotReprocess as refusal:
        raise Problem(409, str(refusal), "Look at the image's state, then try again.") from None
    try:
        await set_going(version, gateway.bus, database=gateway.database)
    except Unavailable:
        # It is made all the same: the relay announces it.
        pass
    return await _gone_on(gateway, image, audited)


async def _gone_on(gateway: Gateway, image: Image, audited: Audited) -> web.Response:
    current = await gateway.store.images.get(image.id) or image
    version = await gateway.store.versions.get(VersionId(image=image.id, n=current.latest))
    if version is None:
        raise not_found("image")
    told = {"image": image.id, "version": version.id.n, "state": version.state, "audit": audited.run}
    return web.json_response(told)


async def image_timeline(request: web.Request) -> web.Response:
    """What happened to an image; with `journal=true` also what only the broker's journal knows."""
    principal_of(request, "operate")
    image = await image_of(request, "see")
    gateway = gateway_of(request)
    versions = await gateway.store.versions.find({"_id.image": image.id}, sort="_id.n")
    audits = await gateway.store.audits.find({"images": image.id}, sort="at")
    events: list[Event] = []
    read: Literal["off", "read", "cut", "unreachable"] = "off"
    if request.query.get("journal") == "true":
        events, read = await _journal(gateway, image)
    return web.json_response(
        {
            "image": image.id,
            "name": image.name,
            "session": image.session,
            "items": timeline(image, versions, audits, events, gateway.database),
            "journal": read,
        }
    )


async def _journal(gateway: Gateway, image: Image) -> tuple[list[Event], Literal["read", "cut", "unreachable"]]:
    """The image's facts in the journal. It has no index: from the image's first day on it is read through, for 8 s."""
    found: list[Event] = []
    try:
        async with asyncio.timeout(JOURNAL_SECONDS), aclosing(gateway.journal.read(image.created)) as entries:
            async for entry in entries:
                event = entry.event
                if event is not None and event.correlation == image.id and event.database == gateway.database:
                    found.append(event)
    except TimeoutError:
        return found, "cut"
    except SlidemillError:
        return found, "unreachable"
    return found, "read"
