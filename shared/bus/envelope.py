"""An event as bytes and headers: CloudEvents 1.0 in binary mode, `ce-` headers and a JSON body.

The same on every bus, so that what the memory bus carries would also pass through a broker.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from shared.bus import Message
from shared.errors import SlidemillError
from shared.events import EVENTS, Event

CONTENT_TYPE = "application/json"
ATTEMPT = "x-slidemill-attempt"
REPLAY = "x-slidemill-replay"
REPLAYED_BY = "x-slidemill-replayed-by"
REPLAY_REASON = "x-slidemill-replay-reason"
EXPIRES = "x-slidemill-expires"
CAUSE = "x-slidemill-cause"
DETAIL = "x-slidemill-detail"
STAGE = "x-slidemill-stage"
FIRST_DEATH = "x-slidemill-first-death"
DEATH = "x-slidemill-death"
ROUTING = "x-slidemill-routing"
TRACE = "traceparent"

_MOST_DETAIL = 2000
# What a broker wrote on a message: a copy with these would count as one that goes round in circles.
_OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-stream-offset")


class Undecodable(SlidemillError):
    """A message that is no event of ours; says why."""


def encode(message: Message) -> tuple[dict[str, Any], bytes]:
    """Headers and body. The message's own headers are kept; it gets a trace of its own if it has none."""
    event = message.event
    headers: dict[str, Any] = {
        "ce-specversion": "1.0",
        "ce-id": event.id,
        "ce-type": event.type,
        "ce-source": f"urn:slidemill:{event.database}",
        "ce-time": event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ce-subject": event.correlation,
        "ce-correlationid": event.correlation,
        **({"ce-causationid": event.cause} if event.cause else {}),
        TRACE: f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01",
    }
    return {**headers, **message.headers}, event.model_dump_json().encode()


def decode(headers: Mapping[str, Any], body: bytes) -> Event:
    """The event of a message; raises `Undecodable`."""
    name = headers.get("ce-type")
    if not isinstance(name, str):
        raise Undecodable("The message says no event type: it has no header ce-type.")
    event = EVENTS.get(name)
    if event is None:
        raise Undecodable(f"No event is called {name[:100]} in this release; a newer one may know it.")
    try:
        return event.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise Undecodable(f"The {name} is not as it should be: {where}: {first['msg']}.") from None


def attempt_of(headers: Mapping[str, Any]) -> int:
    """How many retries lie behind a message."""
    value = headers.get(ATTEMPT, 0)
    return value if isinstance(value, int) and value >= 0 else 0


def is_replay(headers: Mapping[str, Any]) -> bool:
    """Whether a message goes back to a replay, so that it is served behind everything else."""
    return REPLAY in headers


def trace_of(headers: Mapping[str, Any]) -> str | None:
    """The trace id of a W3C `traceparent`, 32 hex digits."""
    parts = str(headers.get(TRACE, "")).split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


def onward(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that what a message brings about takes over: its trace, with a new span, and the replay mark."""
    trace = trace_of(headers)
    return {
        **({TRACE: f"00-{trace}-{uuid.uuid4().hex[:16]}-01"} if trace else {}),
        **({REPLAY: headers[REPLAY]} if REPLAY in headers else {}),
    }


def received(headers: Mapping[str, Any], routing: str) -> dict[str, Any]:
    """The headers of a delivery: with the routing (`exchange:key`) that its first original was published to."""
    return {ROUTING: routing, **headers}


def copied(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of a delivery's copy: everything but what the broker itself wrote."""
    return {name: value for name, value in headers.items() if not name.startswith(_OF_THE_BROKER)}


def dead(headers: Mapping[str, Any], *, stage: str, cause: str, detail: str, now: datetime) -> dict[str, Any]:
    """The headers of a dead letter: why it is one, in which stage, and when this message died first and last."""
    moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        FIRST_DEATH: moment,
        **copied(headers),
        CAUSE: cause,
        DETAIL: detail[:_MOST_DETAIL],
        STAGE: stage,
        DEATH: moment,
    }


def risen(headers: Mapping[str, Any], replay: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of a dead letter that is sent again: with all its tries, and with the marks of the replay."""
    of_the_death = (CAUSE, DETAIL, STAGE, DEATH, ATTEMPT)
    return {**{name: value for name, value in copied(headers).items() if name not in of_the_death}, **replay}


def replaying(run: str, by: str, reason: str) -> dict[str, Any]:
    """The headers of what an operator sends again: which audited run it belongs to, who did it, and why."""
    return {REPLAY: run, REPLAYED_BY: by, REPLAY_REASON: reason[:_MOST_DETAIL]}


def expired(headers: Mapping[str, Any], now: datetime) -> bool:
    """Whether a message says that nobody needs it any more."""
    text = headers.get(EXPIRES)
    try:
        return isinstance(text, str) and datetime.fromisoformat(text) <= now
    except (ValueError, TypeError):
        return False


def expiring(moment: datetime) -> dict[str, Any]:
    """The header of a message that is pointless after `moment`: the runner then drops it unhandled."""
    return {EXPIRES: moment.isoformat()}
