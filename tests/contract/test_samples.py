"""Messages that were sent once must be understood for ever, and mean the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.bus import Message
from shared.bus.envelope import decode, encode
from shared.events import EVENTS

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.json"))


def sample(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["headers"], content["body"]


def includes(newer: Any, older: Any) -> bool:
    """Whether everything that was said before is still said, and the same."""
    if isinstance(older, dict):
        return isinstance(newer, dict) and all(includes(newer.get(name), value) for name, value in older.items())
    return bool(newer == older)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_an_old_message_is_understood(file: Path) -> None:
    headers, body = sample(file)

    event = decode(headers, json.dumps(body).encode())

    assert event.type == headers["ce-type"]
    assert includes(json.loads(event.model_dump_json()), body)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_the_same_event_would_be_sent_the_same_way_today(file: Path) -> None:
    headers, body = sample(file)

    now, sent = encode(Message(decode(headers, json.dumps(body).encode())))

    assert includes({**now, "traceparent": headers["traceparent"]}, headers)
    assert includes(json.loads(sent), body)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem)
def test_a_field_of_the_future_does_no_harm(file: Path) -> None:
    headers, body = sample(file)

    event = decode(headers, json.dumps({**body, "colour": "hematoxylin"}).encode())

    assert event == decode(headers, json.dumps(body).encode())


def test_every_event_has_a_sample() -> None:
    assert {sample(file)[0]["ce-type"] for file in SAMPLES} == set(EVENTS)
