"""The event stream of a session: server-sent events, the whole session at connect, then what changes or goes."""

import json
from contextlib import aclosing
from typing import Any

from aiohttp import web

from services.upload.gateway import gateway_of, session_of
from shared.access import Decision, decide
from shared.http.identity import principal_of


async def stream(request: web.Request) -> web.StreamResponse:
    """Sends `event: image` with the image's progress object, `event: removed` with the id of an image that was deleted.

    `event: gone` says that the session was deleted, and is the last; a comment, that there was nothing for a while.
    """
    gateway = gateway_of(request)
    session = await session_of(request, "see")
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            # nginx would hold events back until its buffer is full.
            "X-Accel-Buffering": "no",
        }
    )
    async with aclosing(gateway.watching.follow(session.id)) as rounds:
        async for news in rounds:
            if not response.prepared:
                await response.prepare(request)
            events = [_event("image", image) for image in news.images]
            events += [_event("removed", {"id": id}) for id in news.removed]
            if news.gone:
                events.append(_event("gone", {"id": session.id}))
            try:
                await response.write("".join(events or [": still here\n\n"]).encode())
            except ConnectionError:
                break
            if news.gone:
                break
            if not news:
                # Somebody who signed out, or lost the session, stops seeing it within a heartbeat.
                principal = await principal_of(request, gateway.store, gateway.clock)
                if decide(principal, "see", session.owner) is not Decision.ALLOW:
                    break
    return response


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
