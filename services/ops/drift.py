"""What a broker has against what the table says. Pure: nothing here asks or changes a broker."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.bus.topology import Exchange, Queue


@dataclass(frozen=True)
class Actual:
    """The management API's lists of one virtual host."""

    exchanges: Sequence[Mapping[str, Any]]
    queues: Sequence[Mapping[str, Any]]
    bindings: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the table says; `field`, `expected` and `actual` say how it differs, if it does."""

    kind: Literal["exchange", "queue", "binding"]
    name: str
    what: Literal["missing", "unexpected", "differs"]
    field: str | None = None
    expected: Any = None
    actual: Any = None

    @property
    def sentence(self) -> str:
        """The difference for a person."""
        if self.what == "differs":
            return f"{self.kind} {self.name}: {self.field} is {self.actual!r}, the table says {self.expected!r}"
        return f"{self.kind} {self.name} is {'missing' if self.what == 'missing' else 'there, but not in the table'}"


def differences(
    exchanges: Iterable[Exchange], queues: Iterable[Queue], actual: Actual, prefix: str
) -> list[Difference]:
    """Everything under `prefix` that is missing, unexpected or otherwise than in the table, in order of kind and name.

    A policy on one of our queues is a difference too: it may lower the limits that keep messages safe.
    """
    exchanges, queues = list(exchanges), list(queues)
    found = [
        *_exchanges(exchanges, [one for one in actual.exchanges if _ours(one["name"], prefix)]),
        *_queues(queues, [one for one in actual.queues if _ours(one["name"], prefix)]),
        *_bindings(queues, [one for one in actual.bindings if _ours(one["destination"], prefix) and one["source"]]),
    ]
    return sorted(found, key=lambda one: (one.kind, one.name, one.field or ""))


def _ours(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}.")


def _exchanges(table: list[Exchange], actual: list[Mapping[str, Any]]) -> Iterator[Difference]:
    there = {one["name"]: one for one in actual}
    for exchange in table:
        found = there.pop(exchange.name, None)
        if found is None:
            yield Difference("exchange", exchange.name, "missing")
            continue
        expected = {"type": exchange.type, "durable": True, "auto_delete": False, "internal": False}
        yield from _differing("exchange", exchange.name, expected, found)
    yield from (Difference("exchange", name, "unexpected") for name in there)


def _queues(table: list[Queue], actual: list[Mapping[str, Any]]) -> Iterator[Difference]:
    there = {one["name"]: one for one in actual}
    for queue in table:
        found = there.pop(queue.name, None)
        if found is None:
            yield Difference("queue", queue.name, "missing")
            continue
        yield from _differing("queue", queue.name, {"durable": True, "policy": None}, found)
        arguments = found.get("arguments", {})
        names = sorted({*queue.arguments, *arguments})
        wanted = {name: queue.arguments.get(name) for name in names}
        yield from _differing("queue", queue.name, wanted, arguments)
    yield from (Difference("queue", name, "unexpected") for name in there)


def _bindings(table: list[Queue], actual: list[Mapping[str, Any]]) -> Iterator[Difference]:
    wanted = {(one.exchange, one.key, queue.name) for queue in table for one in queue.bindings}
    there = {(one["source"], one["routing_key"], one["destination"]) for one in actual}
    yield from (Difference("binding", _arrow(one), "missing") for one in wanted - there)
    yield from (Difference("binding", _arrow(one), "unexpected") for one in there - wanted)


def _arrow(binding: tuple[str, str, str]) -> str:
    source, key, destination = binding
    return f"{source} --{key}--> {destination}"


def _differing(
    kind: Literal["exchange", "queue"], name: str, expected: Mapping[str, Any], actual: Mapping[str, Any]
) -> Iterator[Difference]:
    for field, value in expected.items():
        found = actual.get(field)
        # The API says of a queue without a policy either null or an empty name.
        if found != value and not (value is None and found == ""):
            yield Difference(kind, name, "differs", field, value, found)
