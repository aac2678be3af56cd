"""Makes the documents that describe the code: `python -m docs.generate`, or `--check` to fail if they are stale.

`asyncapi.yaml` comes from the events and the topology, `openapi.yaml` from the gateway's table of routes. The page's
`pictures.json` is what it leaves out of folders, from `shared/slides`.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from services.upload.openapi import document as openapi
from shared.bus import topology as table
from shared.events import EVENTS, Event, Lane
from shared.settings import Settings
from shared.slides import sniff
from shared.slides.litter import LITTER

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "services/upload/web/src/model"
PREFIX: str = Settings.model_fields["prefix"].default
BINDING_VERSION = "0.3.0"

HEADERS: dict[str, tuple[str, str]] = {
    "ce-specversion": ("string", "Always 1.0 (CloudEvents in binary mode)."),
    "ce-id": ("string", "UUIDv5 of what the event is about: a repeat has the same."),
    "ce-type": ("string", "The event's name and version on the wire."),
    "ce-source": ("string", "urn:slidemill:DATABASE"),
    "ce-time": ("string", "When it happened: UTC, milliseconds."),
    "ce-subject": ("string", "The image, or for ticks the due time."),
    "ce-correlationid": ("string", "What a person follows it by: the same as the subject."),
    "ce-causationid": ("string", "The id of the event that brought it about."),
    "traceparent": ("string", "W3C trace context."),
    "x-slidemill-attempt": ("integer", "How many retries lie behind it; absent at first."),
    "x-slidemill-replay": (
        "string",
        "Present if it goes back to a replay: its run in `audits`. What it brings about is bulk work and has it, too.",
    ),
    "x-slidemill-replayed-by": ("string", "On what an operator sent again: who did so."),
    "x-slidemill-replay-reason": ("string", "On what an operator sent again: why."),
    "x-slidemill-expires": ("string", "When nobody needs it any more; it is then dropped unhandled."),
    "x-slidemill-routing": ("string", "On retries and dead letters: the exchange and key it was first published to."),
    "x-slidemill-cause": ("string", "On dead letters: reject, retries, undecodable or unserved."),
    "x-slidemill-detail": ("string", "On dead letters: the reason in words."),
    "x-slidemill-stage": ("string", "On dead letters: the stage that gave it up."),
    "x-slidemill-first-death": ("string", "On dead letters: when it was given up for the first time."),
    "x-slidemill-death": ("string", "On dead letters: when it was given up for the last time."),
}
REQUIRED = ("ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time", "ce-subject")


class _Plain(yaml.SafeDumper):
    """YAML without anchors: what is the same twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _name(event: type[Event]) -> str:
    return event.route.split(".", 1)[1]


def _summary(thing: type) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


def _messages(events: list[type[Event]]) -> dict[str, Any]:
    return {_name(event): {"$ref": f"#/components/messages/{_name(event)}"} for event in events}


def _has_lane(event: type[Event]) -> bool:
    return "lane" in event.model_fields


def _event_channel(event: type[Event]) -> dict[str, Any]:
    lane = {"lane": {"enum": list(table.LANES), "description": "express for images of few blocks, else bulk."}}
    exchange = table.events_exchange(PREFIX)
    return {
        "address": f"{event.route}.{{lane}}" if _has_lane(event) else event.route,
        "summary": _summary(event),
        "messages": _messages([event]),
        **({"parameters": lane} if _has_lane(event) else {}),
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _queue_channel(queue: table.Queue, events: list[type[Event]], summary: str) -> dict[str, Any]:
    return {
        "address": queue.name,
        "summary": summary,
        "messages": _messages(events),
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"name": queue.name, "durable": True, "exclusive": False, "autoDelete": False},
                "bindingVersion": BINDING_VERSION,
            }
        },
        # The AMQP binding has no place for these.
        "x-arguments": dict(queue.arguments),
        "x-bindings": [{"exchange": binding.exchange, "key": binding.key} for binding in queue.bindings],
    }


def _queue_channels() -> dict[str, Any]:
    every = list(EVENTS.values())
    journal, *delays = table.shared_queues(PREFIX)
    facts = [event for event in every if event.route.startswith("fact.")]
    channels = {"journal": _queue_channel(journal, facts, "Every fact, in order.")}
    for delay, queue in zip(table.DELAYS, delays, strict=True):
        channels[f"delay-{delay}"] = _queue_channel(queue, every, f"What is tried again {delay} later.")
    for stage, events in table.STAGES.items():
        dead, *lanes = table.stage_queues(PREFIX, stage)
        for lane, queue in zip(table.LANES, lanes, strict=True):
            channels[f"{stage}-{lane}"] = _queue_channel(queue, list(events), f"{lane} work of the {stage} service.")
        channels[f"{stage}-dead"] = _queue_channel(dead, list(events), f"What the {stage} service gave up.")
    return channels


def _operations() -> dict[str, Any]:
    def receive(stage: str, lane: Lane) -> dict[str, Any]:
        return {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{stage}-{lane}"},
            "summary": f"The {stage} service answers what waits in its {lane} queue.",
            "bindings": {"amqp": {"ack": True, "bindingVersion": BINDING_VERSION}},
        }

    def send(event: type[Event]) -> dict[str, Any]:
        return {
            "action": "send",
            "channel": {"$ref": f"#/channels/{_name(event)}"},
            "summary": _summary(event),
            "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "bindingVersion": BINDING_VERSION}},
        }

    return {
        **{f"publish-{_name(event)}": send(event) for event in EVENTS.values()},
        **{f"{stage}-{lane}": receive(stage, lane) for stage in table.STAGES for lane in table.LANES},
    }


def _headers() -> dict[str, Any]:
    properties = {name: {"type": kind, "description": meaning} for name, (kind, meaning) in HEADERS.items()}
    return {"type": "object", "required": list(REQUIRED), "properties": properties}


def _message(event: type[Event]) -> dict[str, Any]:
    return {
        "name": event.type,
        "title": _name(event),
        "summary": _summary(event),
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/Headers"},
        "correlationId": {"location": "$message.header#/ce-correlationid"},
        "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
    }


def asyncapi() -> dict[str, Any]:
    """Events, exchanges and queues as an AsyncAPI 3.1 document, in plain values."""
    events = list(EVENTS.values())
    template = "#/components/schemas/{model}"
    _, definitions = models_json_schema([(event, "validation") for event in events], ref_template=template)
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "slidemill events",
            "version": "1",
            "description": (
                "What slidemill's services tell each other through RabbitMQ. MongoDB is the truth and these are hints: "
                "lost, doubled, late or reordered, they change nothing in the end. Only optional fields are ever added."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "127.0.0.1:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": f"Names begin with the deployment's prefix, here {PREFIX}.",
            }
        },
        "channels": {**{_name(event): _event_channel(event) for event in events}, **_queue_channels()},
        "operations": _operations(),
        "components": {
            "messages": {_name(event): _message(event) for event in events},
            "schemas": {"Headers": _headers(), **dict(sorted(definitions["$defs"].items()))},
        },
    }


def pictures() -> dict[str, Any]:
    """What the page goes by to leave out of folders what nobody means to be a slide; bytes in hex, by their place."""
    return {
        "litter": sorted(LITTER),
        "disc": sniff.DISC,
        "endings": list(sniff.PICTURE_ENDINGS),
        "headBytes": sniff.HEAD_BYTES,
        "signatures": [
            [{"at": at, "hex": what.hex()} for at, what in signature.items()]
            for kind, signature in sniff.SIGNATURES
            if kind != "zip"
        ],
    }


def _text(made_from: str, document: Mapping[str, Any]) -> str:
    body = yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    return f"# Made from {made_from} by `make docs`; do not edit.\n{body}"


def documents() -> dict[Path, str]:
    """The text of every generated document by its place."""
    return {
        FOLDER / "asyncapi.yaml": _text("shared/events.py and shared/bus/topology.py", asyncapi()),
        FOLDER / "openapi.yaml": _text("services/upload", openapi()),
        PAGE / "pictures.json": json.dumps(pictures(), indent=1) + "\n",
    }


def main() -> int:
    """Writes what has changed; with `--check` only names it, and exits 1 if there is any."""
    parser = argparse.ArgumentParser(description="Generate docs/asyncapi.yaml and docs/openapi.yaml from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a document is stale")
    check: bool = parser.parse_args().check
    stale = [
        file for file, text in documents().items() if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    for file in stale:
        print(f"{file.name} is stale: run make docs." if check else f"{file.name} is written anew.")
        if not check:
            file.write_text(documents()[file], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
