"""What administrators see and do through the gateway: the pipeline, dead letters, an image's past, going on."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from services.upload.admin import graveyard as graveyards
from services.upload.admin import pipeline
from services.upload.admin.table import OPERATING
from shared.bus import Message
from shared.bus.envelope import CAUSE, REPLAY_REASON, REPLAYED_BY, encode
from shared.bus.envelope import dead as died
from shared.bus.journal import Entry
from shared.bus.letters import HeldLetter
from shared.bus.memory import MemoryDeadLetters
from shared.errors import Unavailable
from shared.events import FileComplete
from shared.stages.facts import announcement
from shared.stages.failing import fail
from shared.store.documents.versions import Version, VersionId
from tests.gateway.conftest import ANNA, MIB, Served, slide

API = "/api/v1"


async def sent(gateway: Served, name: str = "Niere 7.svs", seed: int = 1) -> Version:
    """A file that has arrived whole and waits to be cut."""
    session = await gateway.session()
    answer = await gateway.send(session, slide(1000, seed), params={"name": name})
    await gateway.published()
    version = await gateway.store.versions.get(VersionId(image=answer.json["image"], n=1))
    assert version is not None
    assert version.state == "dicing"
    return version


async def failed(gateway: Served, **named: Any) -> Version:
    """A slide that failed while it was cut, with its dead letter."""
    version = await sent(gateway, **named)
    clock = gateway.gateway.clock
    await fail(gateway.store, version.id, "dice", "It is torn.", "Scan it again.", database="slidemill", clock=clock)
    current = await gateway.store.versions.get(version.id)
    fact = announcement(version, "slidemill")
    assert current is not None
    assert fact is not None
    await bury(gateway, fact, "It is torn. Scan it again.")
    return current


async def bury(gateway: Served, fact: Any, detail: str, cause: str = "reject") -> None:
    headers, body = encode(Message(fact))
    letters = MemoryDeadLetters(gateway.bus.broker)
    now = gateway.gateway.clock.now()
    await letters.bury("dicer", died(headers, stage="dicer", cause=cause, detail=detail, now=now), body)


async def audits(gateway: Served, action: str) -> list[Any]:
    return await gateway.store.audits.find({"action": action})


async def test_others_than_administrators_are_refused_in_one_sentence(gateway: Served) -> None:
    hers = (await gateway.send(await gateway.session(ANNA), slide(1000), token=ANNA, params={"name": "a.svs"})).json
    for route in OPERATING:
        path = route.path.replace("{image}", hers["image"]).replace("{name}", "x")
        answer = await gateway.ask(route.method, path, ANNA, json={} if route.body else None)
        assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (403, "application/problem+json"), route
        assert answer.json["detail"] == "Only administrators may do this."
    assert await gateway.store.audits.find({}) == []


async def test_the_pipeline_shows_queues_states_and_what_has_stood_for_the_longest(gateway: Served) -> None:
    first = await sent(gateway, name="first.svs")
    await failed(gateway, name="second.svs", seed=2)
    session = await gateway.session()
    part = (await gateway.send(session, slide(MIB), (0, MIB, 2 * MIB), params={"name": "half.svs"})).json

    async def nothing(_: object) -> None: ...

    await gateway.bus.consume("pyramid", "express", 1, nothing)
    await gateway.bus.consume("pyramid", "bulk", 1, nothing)
    told = (await gateway.ask("GET", f"{API}/pipeline")).json
    upload, dicer, pyramid, sync = told["stages"]

    assert told["states"] == {"dicing": 1, "failed": 1, "uploading": 1}
    assert (told["superseded"], told["broker"], told["dead_work"]) == (0, None, None)
    assert told["delayed"] == {"10s": 0, "1min": 0, "10min": 0}
    assert (upload["express"], upload["workers"], upload["oldest"]["image"]) == (None, None, part["image"])
    assert (dicer["express"], dicer["bulk"], dicer["dead"], dicer["workers"]) == (2, 0, 1, 0)
    assert (dicer["oldest"]["image"], dicer["oldest"]["name"]) == (first.id.image, "first.svs")
    assert (pyramid["workers"], pyramid["oldest"]) == (1, None)
    assert (sync["stage"], sync["dead"]) == ("sync", 0)


async def test_without_the_broker_the_rest_of_the_pipeline_is_shown(gateway: Served) -> None:
    version = await sent(gateway)
    await gateway.bus.close()
    told = (await gateway.ask("GET", f"{API}/pipeline")).json

    assert "broker" in told["broker"]
    assert told["states"] == {"dicing": 1}
    assert [stage["express"] for stage in told["stages"]] == [None] * 4
    assert told["stages"][1]["oldest"]["image"] == version.id.image


async def test_dead_letters_are_listed_by_what_they_died_of_and_shown_whole(gateway: Served) -> None:
    for n in range(3):
        await failed(gateway, name=f"{n}.svs", seed=n)
    await bury(gateway, announcement(await sent(gateway, seed=9), "slidemill"), "ValueError: 7", "retries")

    groups = (await gateway.ask("GET", f"{API}/dead-letters")).json["items"]
    torn = groups[0]
    letters = (await gateway.ask("GET", f"{API}/dead-letters/{torn['group']}?limit=2")).json["items"]
    one = (await gateway.ask("GET", f"{API}/dead-letters/{torn['example']['id']}")).json["items"]

    assert [(group["stage"], group["cause"], group["count"]) for group in groups] == [
        ("dicer", "reject", 3),
        ("dicer", "retries", 1),
    ]
    assert torn["first"] <= torn["last"] == torn["example"]["last"]
    assert len(letters) == 2
    assert letters[0]["headers"][CAUSE] == "reject"
    assert letters[0]["event"]["name"] == "0.svs"
    assert [letter["id"] for letter in one] == [torn["example"]["id"]]
    assert (await gateway.ask("GET", f"{API}/dead-letters/nothing")).status == 404
    assert (await gateway.ask("GET", f"{API}/dead-letters?stage=pyramid")).json["items"] == []
    assert (await gateway.ask("GET", f"{API}/dead-letters?stage=oven")).status == 400


async def test_a_group_is_sent_again_and_its_images_go_on_where_they_failed(gateway: Served) -> None:
    versions = [await failed(gateway, name=f"{n}.svs", seed=n) for n in range(2)]
    queue = gateway.bus.broker["slidemill.dicer.bulk"]
    group = (await gateway.ask("GET", f"{API}/dead-letters")).json["items"][0]["group"]

    answer = await gateway.ask("POST", f"{API}/dead-letters/retry", json={"names": [group], "reason": "mended"})
    states = [version.state for version in await gateway.store.versions.find({})]
    (audit,) = await audits(gateway, "dead-retry")

    assert (answer.status, answer.json["count"], answer.json["ended"]) == (200, 2, True)
    assert states == ["dicing"] * 2
    assert [stored.headers[REPLAY_REASON] for stored in queue.ready] == ["mended"] * 2
    assert {stored.headers[REPLAYED_BY] for stored in queue.ready} == {"admin (API)"}
    assert (audit.run, audit.by, audit.reason) == (answer.json["audit"], "admin (API)", "mended")
    assert set(audit.images) == {version.id.image for version in versions}
    assert (await gateway.ask("GET", f"{API}/dead-letters")).json["items"] == []
    again = await gateway.ask("POST", f"{API}/dead-letters/retry", json={"names": [group]})
    assert again.status == 404
    assert (await gateway.ask("POST", f"{API}/dead-letters/retry", json={"all": True})).json["count"] == 0


async def test_letters_are_thrown_away_for_a_reason_only(gateway: Served) -> None:
    await failed(gateway)
    letter = (await gateway.ask("GET", f"{API}/dead-letters")).json["items"][0]["example"]["id"]
    path = f"{API}/dead-letters/discard"

    for refused in ({"names": [letter]}, {"names": [letter], "reason": " "}, {"reason": "x"}):
        assert (await gateway.ask("POST", path, json=refused)).status == 400, refused
    assert (await gateway.ask("POST", path, json={"all": True, "names": [letter], "reason": "x"})).status == 400
    answer = await gateway.ask("POST", path, json={"names": [letter], "reason": "a test slide"})
    (audit,) = await audits(gateway, "dead-discard")

    assert (answer.status, answer.json["count"]) == (200, 1)
    assert (audit.reason, len(audit.subjects)) == ("a test slide", 1)
    assert "It is torn" in audit.subjects[0]
    assert gateway.bus.broker.dead["dicer"] == []


class Halting(MemoryDeadLetters):
    """Lets a reader have one letter, then holds it up until told to go on."""

    go_on: asyncio.Event

    async def each(self, stage: str) -> AsyncGenerator[HeldLetter, None]:
        number = 0
        async for held in super().each(stage):
            if number:
                await self.go_on.wait()
            yield held
            number += 1


@pytest.fixture
def halting(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> Halting:
    letters = Halting(gateway.bus.broker)
    letters.go_on = asyncio.Event()
    monkeypatch.setattr(graveyards, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(pipeline, "EVERY_SECONDS", 0)
    monkeypatch.setattr(gateway.gateway.graveyard, "_letters", letters)
    return letters


async def test_a_long_run_goes_on_after_the_answer_and_is_the_only_one(gateway: Served, halting: Halting) -> None:
    for n in range(3):
        await failed(gateway, seed=n)
    before = (await gateway.ask("GET", f"{API}/pipeline")).json
    answer = await gateway.ask("POST", f"{API}/dead-letters/retry", json={"all": True})
    second = await gateway.ask("POST", f"{API}/dead-letters/discard", json={"all": True, "reason": "x"})
    during = (await gateway.ask("GET", f"{API}/pipeline")).json
    run = gateway.gateway.graveyard.run
    halting.go_on.set()
    assert run is not None
    async with asyncio.timeout(10):
        await asyncio.wait([run.work])

    assert before["stages"][1]["dead"] == during["stages"][1]["dead"] == 3
    assert (answer.status, answer.json["count"], answer.json["ended"]) == (202, 1, False)
    assert second.status == 409
    assert during["dead_work"] == {"action": "retry", "done": 1}
    assert gateway.bus.broker.dead["dicer"] == []
    assert [audit.run for audit in await audits(gateway, "dead-retry")] == [answer.json["audit"]]


async def test_what_a_stopping_gateway_breaks_off_is_still_there(gateway: Served, halting: Halting) -> None:
    for n in range(3):
        await failed(gateway, seed=n)
    assert (await gateway.ask("POST", f"{API}/dead-letters/retry", json={"all": True})).status == 202
    await gateway.gateway.graveyard.close()

    assert len(gateway.bus.broker.dead["dicer"]) == 2
    assert len(gateway.bus.broker["slidemill.dicer.bulk"].ready) == 1


async def test_a_failed_image_goes_on_and_one_that_never_arrived_does_not(gateway: Served) -> None:
    version = await failed(gateway)
    session = await gateway.session()
    half = (await gateway.send(session, slide(MIB), (0, MIB, 2 * MIB), params={"name": "half.svs"})).json["image"]

    went_on = await gateway.ask("POST", f"{API}/images/{version.id.image}/retry", json={"reason": "mended"})
    refused = await gateway.ask("POST", f"{API}/images/{half}/retry", json={})
    (audit,) = await audits(gateway, "replay")

    assert (went_on.status, went_on.json["state"], went_on.json["version"]) == (200, "dicing", 1)
    assert (audit.reason, audit.images) == ("mended", (version.id.image,))
    assert refused.status == 409
    assert "never arrived whole" in refused.json["detail"]
    assert (await gateway.ask("POST", f"{API}/images/{'0' * 32}/retry", json={})).status == 404


async def test_an_image_is_processed_anew_beside_the_old_version(gateway: Served) -> None:
    version = await failed(gateway)
    path = f"{API}/images/{version.id.image}/reprocess"

    anew = await gateway.ask("POST", path, json={"reason": "new release"})
    busy = await gateway.ask("POST", path, json={})
    unready = await gateway.ask("POST", path, json={"from": "finish"})

    assert (anew.status, anew.json["version"], anew.json["state"]) == (200, 2, "dicing")
    assert len(gateway.bus.broker["slidemill.dicer.bulk"].ready) == 1
    assert [busy.status, unready.status] == [409, 409]


async def test_the_timeline_tells_what_happened_why_and_by_whom(gateway: Served) -> None:
    version = await failed(gateway)
    image = version.id.image
    old = announcement(version, "slidemill")
    assert isinstance(old, FileComplete)
    await gateway.ask("POST", f"{API}/images/{image}/retry", json={"reason": "mended"})
    clock = gateway.gateway.clock
    await fail(gateway.store, version.id, "dice", "It is still torn.", "Leave it.", database="slidemill", clock=clock)

    short = (await gateway.ask("GET", f"{API}/images/{image}/timeline")).json
    items = {item["title"]: item for item in short["items"]}
    failure = items["Failed while cutting its tiles"]

    assert (short["name"], short["journal"]) == ("Niere 7.svs", "off")
    assert [item["title"] for item in short["items"]] == [
        "Its first bytes were stored",
        "Arrived whole",
        "Sent again by hand",
        "Failed while cutting its tiles",
    ]
    assert items["Arrived whole"]["event"] == old.id
    assert failure["detail"] == "It is still torn. Leave it."
    assert failure["after"] == old.id
    assert (items["Sent again by hand"]["by"], items["Sent again by hand"]["detail"]) == ("admin (API)", "mended")


async def test_the_timeline_says_that_older_versions_were_removed(gateway: Served) -> None:
    version = await sent(gateway)
    image, now = version.id.image, gateway.gateway.clock.now()
    second = version.model_copy(update={"id": VersionId(image=image, n=2), "created": now})
    await gateway.store.versions.insert(second)
    await gateway.store.versions.take(version.id)
    await gateway.store.images.update(image, set={"latest": 2, "current": 2, "cleared": now})

    items = (await gateway.ask("GET", f"{API}/images/{image}/timeline")).json["items"]
    told = {item["title"]: item for item in items}

    assert told["Its first bytes were stored"]["version"] == 1
    assert told["Older versions were removed"]["detail"] == "Their tiles and pictures gave way to version 2."
    assert "Version 2 was begun" in told


async def test_the_journal_adds_the_failures_that_were_overcome(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await sent(gateway)
    image = version.id.image
    clock = gateway.gateway.clock
    events = await fail(gateway.store, version.id, "dice", "Torn.", "Mend it.", database="slidemill", clock=clock)
    await gateway.bus.publish([Message(event) for event in events])
    await gateway.ask("POST", f"{API}/images/{image}/retry", json={})

    without = (await gateway.ask("GET", f"{API}/images/{image}/timeline")).json["items"]
    told = (await gateway.ask("GET", f"{API}/images/{image}/timeline?journal=true")).json
    added = [item for item in told["items"] if item not in without]

    assert told["journal"] == "read"
    assert [(item["title"], item["detail"], item["source"]) for item in added] == [
        ("Failed while cutting its tiles", "Torn. Mend it.", "journal")
    ]
    assert [item["title"] for item in told["items"]].count("Arrived whole") == 1
    assert told["items"][-1]["kind"] == "now"

    async def down(since: object = None) -> AsyncGenerator[Entry, None]:
        raise Unavailable("The broker is down.")
        yield

    monkeypatch.setattr(gateway.gateway.journal, "read", down)
    assert (await gateway.ask("GET", f"{API}/images/{image}/timeline?journal=true")).json["journal"] == "unreachable"
