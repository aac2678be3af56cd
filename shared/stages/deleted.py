"""What a handler does whose image is deleted under its hands."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

from shared.errors import Postponed, Unavailable
from shared.events import Event, ImageEvent
from shared.stages.facts import version_id
from shared.stages.states import STAGE_OF_STATE
from shared.store import In, Store

H = TypeVar("H", bound=Callable[..., Awaitable[list[Event]]])


def stops_when_deleted(handler: H) -> H:
    """For handlers: one that fails because the image was deleted under its hands has nothing left to do, and no fault.

    Its file, its blocks or its tiles went while it was at work, or even its version before it began.
    """

    @wraps(handler)
    async def stopping(service: Any, event: ImageEvent, *, store: Store, **ports: Any) -> list[Event]:
        try:
            return await handler(service, event, store=store, **ports)
        except Unavailable:
            raise
        except Postponed:
            # A slide that waits for what is under way does not stand still.
            now, working = service.clock.now(), {"state": In(tuple(STAGE_OF_STATE))}
            if await store.versions.update(version_id(event), when=working, set={"updated": now}) is None:
                return []
            raise
        except Exception:
            if await store.versions.get(version_id(event)) is not None:
                raise
            return []

    return cast(H, stopping)
