"""Dead letters: what they say about their end, how they are told apart and grouped, and the port to their queues."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol

from shared.bus.envelope import CAUSE, DEATH, DETAIL, FIRST_DEATH, STAGE, Undecodable, copied, decode
from shared.events import Event

# What differs between two messages that died of the same: file names, ids, quotations, numbers.
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\S+\.[A-Za-z]\w{1,5}\b|\b[0-9a-f]{8}[0-9a-f-]*\b|\d[\d.,]*")
_BROKER_CAUSES = {
    "delivery_limit": (
        "delivery-limit",
        "Whoever took it died or lost the broker before it was done, as often as the queue allows.",
    ),
    "maxlen": ("queue-full", "Its queue was full."),
    "expired": ("expired", "It waited for too long."),
}


@dataclass(frozen=True)
class Letter:
    """One dead letter. `headers` are those it was sent with and those of its death, without what the broker added."""

    stage: str
    headers: Mapping[str, Any]
    body: bytes

    @classmethod
    def read(cls, stage: str, headers: Mapping[str, Any], body: bytes) -> "Letter":
        """The letter as it lies in the queue; one that the broker itself put there gets its cause from the broker's."""
        deaths = headers.get("x-death")
        last = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
        reason = str(headers.get("x-first-death-reason", last.get("reason", "unknown")))
        cause, detail = _BROKER_CAUSES.get(reason, (reason, "The broker put it here."))
        moment = {}
        if isinstance(time := last.get("time"), datetime):
            told = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            moment = {FIRST_DEATH: told, DEATH: told}
        return cls(stage, {CAUSE: cause, DETAIL: detail, **moment, **copied(headers), STAGE: stage}, body)

    @cached_property
    def id(self) -> str:
        """16 hex digits; a message that is sent again and dies again keeps its id."""
        what = [self.stage, str(self.headers.get("ce-id", "")), self.first or "", hashlib.sha256(self.body).hexdigest()]
        return hashlib.sha256("\n".join(what).encode()).hexdigest()[:16]

    @cached_property
    def group(self) -> str:
        """8 hex digits: the same for letters of one stage and type that died of the same."""
        what = [self.stage, self.cause, self.type or "", self.kind]
        return hashlib.sha256("\n".join(what).encode()).hexdigest()[:8]

    @property
    def cause(self) -> str:
        """`reject`, `retries`, `undecodable`, `unserved`, `delivery-limit`, …"""
        return str(self.headers[CAUSE])

    @property
    def detail(self) -> str:
        """The cause in words."""
        return str(self.headers[DETAIL])

    @cached_property
    def kind(self) -> str:
        """The detail without names, ids and numbers."""
        event = self.content["event"]
        name = event.get("name") if isinstance(event, dict) else None
        detail = self.detail.replace(name, "…") if isinstance(name, str) and name else self.detail
        return _PARTICULAR.sub("…", detail)

    @property
    def first(self) -> str | None:
        """When the message died for the first time."""
        return self._text(FIRST_DEATH)

    @property
    def last(self) -> str | None:
        """When it died for the last time."""
        return self._text(DEATH) or self.first

    @property
    def type(self) -> str | None:
        """The event's name on the wire, if it says one."""
        return self._text("ce-type")

    @property
    def image(self) -> str | None:
        """The image, or for ticks the due time, that it is about."""
        return self._text("ce-subject")

    @property
    def event(self) -> Event | None:
        """The event, if it is one of ours."""
        try:
            return decode(self.headers, self.body)
        except Undecodable:
            return None

    @property
    def content(self) -> dict[str, Any]:
        """The body as JSON (`event`) or text (`text`); None under both names if it is neither."""
        try:
            text = self.body.decode()
        except UnicodeDecodeError:
            return {"event": None, "text": None}
        try:
            return {"event": json.loads(text), "text": None}
        except ValueError:
            return {"event": None, "text": text}

    def summary(self) -> dict[str, Any]:
        """What a list says about it."""
        return {
            "id": self.id,
            "group": self.group,
            "stage": self.stage,
            "cause": self.cause,
            "detail": self.detail,
            "type": self.type,
            "image": self.image,
            "first": self.first,
            "last": self.last,
        }

    def whole(self) -> dict[str, Any]:
        """All of it, with headers and body: `event` if that is JSON, else `text`, else `base64`."""
        content = self.content
        binary = None if any(value is not None for value in content.values()) else base64.b64encode(self.body).decode()
        headers = json.loads(json.dumps(dict(self.headers), default=str))
        return {**self.summary(), "headers": headers, **content, "base64": binary}

    def _text(self, header: str) -> str | None:
        value = self.headers.get(header)
        return value if isinstance(value, str) else None


class HeldLetter(Protocol):
    """A letter in the hands of one reader; nobody else sees it meanwhile."""

    @property
    def letter(self) -> Letter:
        """What it says."""
        ...

    async def remove(self) -> None:
        """Takes it off its queue for good; raises `Unavailable` if that is not certain."""
        ...


class DeadLetters(Protocol):
    """The dead-letter queues of every stage."""

    def each(self, stage: str) -> AsyncGenerator[HeldLetter, None]:
        """Those that lie there now, about in their order; what is not removed is back once this has ended.

        However often they are looked at, and however a reader ends, no letter is lost. Raises `Unavailable`.
        """
        ...

    async def send(self, stage: str, headers: Mapping[str, Any], body: bytes) -> None:
        """Puts a message into the stage's bulk queue; confirmed on return."""
        ...

    async def bury(self, stage: str, headers: Mapping[str, Any], body: bytes) -> None:
        """Puts a message into the stage's dead-letter queue; confirmed on return."""
        ...
