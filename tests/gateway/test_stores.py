"""Folder stores, reports and ticks over HTTP."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from services.upload.stores.models import ReportPage, StoreObject, StorePage, TickObject, TickPage
from shared.bus.envelope import decode
from shared.events import SyncTick
from shared.store.documents.folders import FolderStore, Report, report_id
from shared.store.documents.ticks import Tick, newest_first
from tests.gateway.conftest import ANNA, Served

STORE = {"name": "Scanner 1", "root": "/data/scanner/"}


async def add(gateway: Served, **fields: Any) -> dict[str, Any]:
    answer = await gateway.ask("POST", "/api/v1/stores", json={**STORE, **fields})
    assert answer.status == 201, answer.text
    return dict(answer.json)


async def ticked(gateway: Served) -> SyncTick:
    (stored,) = gateway.bus.broker["slidemill.sync.express"].ready
    event = decode(stored.headers, stored.body)
    assert isinstance(event, SyncTick)
    return event


async def put_report(gateway: Served, tick: SyncTick, **fields: Any) -> None:
    watched = (await gateway.store.stores.find({"name": "Scanner 1"}))[0]
    id = tick.due.isoformat()
    common = {"store": watched.id, "tick": id, "name": "Scanner 1", "due": tick.due, "updated": tick.due}
    report = {**common, "started": tick.due, "order": newest_first(tick.due), **fields}
    await gateway.store.reports.insert(Report(id=report_id(watched.id, id), **report))


async def test_a_store_is_added_found_paused_resumed_and_removed(gateway: Served) -> None:
    made = await add(gateway, include=["*.svs"], quality=90, subsampling="444")

    assert (made["root"], made["include"], made["exclude"]) == ("/data/scanner", ["*.svs"], [])
    assert (made["state"], made["quality"], made["subsampling"]) == ("active", 90, "444")
    assert (made["session"], made["last"]) == (None, None)
    StoreObject.model_validate(made)
    listed = await gateway.ask("GET", "/api/v1/stores")
    assert listed.json == {"items": [made], "next": None}
    StorePage.model_validate(listed.json)
    address = f"/api/v1/stores/{quote('Scanner 1')}"
    for state in ("paused", "active"):
        changed = await gateway.ask("PATCH", address, json={"state": state})
        assert (changed.status, changed.json["state"]) == (200, state)
    assert (await gateway.ask("DELETE", address)).status == 204
    assert (await gateway.ask("GET", address)).status == 404
    assert (await gateway.ask("GET", "/api/v1/stores")).json["items"] == []
    await add(gateway)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "root": "data"},
        {"name": "a", "root": ""},
        {"name": "a/b", "root": "/data"},
        {"name": "..", "root": "/data"},
        {"name": "", "root": "/data"},
        {"name": "a", "root": "/data", "kind": "s3"},
        {"name": "a", "root": "/data", "quality": 101},
        {"name": "a", "root": "/data", "subsampling": "422"},
        {"name": "a", "root": "/data", "include": [""]},
        {"name": "a"},
    ],
)
async def test_a_store_that_makes_no_sense_is_refused(gateway: Served, body: dict[str, Any]) -> None:
    assert (await gateway.ask("POST", "/api/v1/stores", json=body)).status == 400


@pytest.mark.parametrize("root", ["/data/scanner", "/data", "/", "/data/scanner/case 1"])
async def test_no_file_is_in_two_stores(gateway: Served, root: str) -> None:
    await add(gateway)

    refused = await gateway.ask("POST", "/api/v1/stores", json={"name": "other", "root": root})

    assert (refused.status, refused.json["detail"]) == (409, "The store Scanner 1 watches /data/scanner already.")
    assert (await gateway.ask("POST", "/api/v1/stores", json={"name": "Scanner 1", "root": "/x"})).status == 409
    await add(gateway, name="other", root="/data/scanner 2")


@pytest.mark.parametrize("roots", [["/data/a"] * 8, ["/data", "/data/a", "/data/a/b", "/data/b", "/"]])
async def test_of_stores_that_are_added_at_once_for_one_folder_one_is_made(gateway: Served, roots: list[str]) -> None:
    """Each of the others is told whose folder it is."""
    asked = [
        gateway.ask("POST", "/api/v1/stores", json={"name": f"Scanner {n}", "root": root})
        for n, root in enumerate(roots)
    ]

    answers = await asyncio.gather(*asked)

    kept = [store.root for store in await gateway.store.stores.find({"state": "active"})]
    made = [answer.json["root"] for answer in answers if answer.status == 201]
    assert sorted(made) == sorted(kept)
    assert made
    for root in kept:
        assert [root] == [other for other in kept if f"{other}/".startswith(f"{root.rstrip('/')}/")]
    for answer in answers:
        if answer.status != 201:
            assert (answer.status, "watches" in answer.json["detail"]) == (409, True), answer.text
    assert len(kept) == await gateway.store.stores.count({})


async def test_a_store_that_is_resumed_takes_its_folder_as_it_is(gateway: Served) -> None:
    await add(gateway)
    (watched,) = await gateway.store.stores.find({})
    await gateway.store.stores.update(watched.id, set={"found": "mount"})

    for state, found in (("active", "mount"), ("paused", None), ("active", None)):
        await gateway.ask("PATCH", "/api/v1/stores/Scanner%201", json={"state": state})
        (watched,) = await gateway.store.stores.find({})
        assert (state, found) == (watched.state, watched.found)


async def test_only_administrators_see_stores_and_make_ticks(gateway: Served) -> None:
    await add(gateway)

    for method, path in (
        ("GET", "/stores"),
        ("POST", "/stores"),
        ("GET", "/stores/Scanner%201"),
        ("PATCH", "/stores/Scanner%201"),
        ("DELETE", "/stores/Scanner%201"),
        ("GET", "/stores/Scanner%201/reports"),
        ("POST", "/ticks"),
        ("GET", "/ticks"),
        ("GET", "/ticks/2026-01-01T00:00:00.000Z"),
    ):
        assert (await gateway.ask(method, f"/api/v1{path}", ANNA)).status == 403, (method, path)


async def test_a_tick_is_published_and_done_once_its_runs_are(gateway: Served) -> None:
    await add(gateway)

    asked = await gateway.ask("POST", "/api/v1/ticks", json={"store": "Scanner 1"})

    assert (asked.status, asked.json["state"], asked.json["store"]) == (202, "running", "Scanner 1")
    address = asked.headers["Location"]
    event = await ticked(gateway)
    (watched,) = await gateway.store.stores.find({})
    assert (event.store, event.database) == (watched.id, "slidemill")
    await put_report(gateway, event, state="importing", seen=3)
    done = {"done": True, "ended": event.due + timedelta(seconds=1), "report": {"expired": 2, "seconds": 0.5}}
    await gateway.store.ticks.update(event.due.isoformat(), set=done)
    assert (await gateway.ask("GET", address)).json["state"] == "running"

    ended = event.due + timedelta(seconds=3)
    (report,) = await gateway.store.reports.find({})
    await gateway.store.reports.update(report.id, set={"state": "done", "ended": ended})
    told = (await gateway.ask("GET", address)).json

    TickObject.model_validate(told)
    assert (told["state"], told["housekeeping"]) == ("done", {"expired": 2})
    assert (told["reports"][0]["seen"], told["reports"][0]["seconds"]) == (3, 3.0)
    listed = await gateway.ask("GET", "/api/v1/stores/Scanner%201")
    assert listed.json["last"] == told["reports"][0]


async def test_ticks_are_listed_the_newest_first_and_those_that_nobody_did_on_their_own(gateway: Served) -> None:
    await add(gateway)
    asked = (await gateway.ask("POST", "/api/v1/ticks", json={"store": "Scanner 1"})).json
    event = await ticked(gateway)
    await put_report(gateway, event, state="importing", seen=3)
    for minutes, missed in ((-5, False), (-15, True), (-10, True)):
        due = event.due + timedelta(minutes=minutes)
        tick = Tick.at(due, started=due, interval=300, missed=missed, done=not missed, report={"missed": 2})
        await gateway.store.ticks.insert(tick)

    listed = (await gateway.ask("GET", "/api/v1/ticks?limit=3")).json
    rest = (await gateway.ask("GET", f"/api/v1/ticks?cursor={listed['next']}")).json
    missed = (await gateway.ask("GET", "/api/v1/ticks?missed=true")).json

    TickPage.model_validate(listed)
    items = [*listed["items"], *rest["items"]]
    assert (items[0]["tick"], items[0]["store"], items[0]["reports"][0]["seen"]) == (asked["tick"], "Scanner 1", 3)
    assert [item["state"] for item in items] == ["running", "done", "missed", "missed"]
    assert items[1]["housekeeping"] == {"missed": 2}
    assert sorted(items, key=lambda item: str(item["tick"]), reverse=True) == items
    assert (rest["next"], missed["items"]) == (None, items[2:])


async def test_a_tick_of_a_store_that_is_not_there_is_refused(gateway: Served) -> None:
    refused = await gateway.ask("POST", "/api/v1/ticks", json={"store": "x"})
    assert (refused.status, refused.json["detail"]) == (404, "There is no store 'x'.")
    assert (await gateway.ask("GET", "/api/v1/ticks/2026-01-01T00:00:00.000Z")).status == 404
    assert (await gateway.ask("GET", "/api/v1/ticks/yesterday")).status == 400
    assert (await gateway.ask("POST", "/api/v1/ticks")).status == 202


async def test_while_the_broker_is_down_a_tick_is_refused(gateway: Served) -> None:
    gateway.bus.broken = True

    assert (await gateway.ask("POST", "/api/v1/ticks")).status == 503
    assert await gateway.store.ticks.find({}) == []


async def test_reports_are_read_page_by_page_the_newest_first(gateway: Served) -> None:
    await add(gateway)
    now = gateway.gateway.clock.now()
    for minutes in (5, 0, 10):
        due = now + timedelta(minutes=minutes)
        await put_report(gateway, SyncTick(database="slidemill", time=due, due=due), seen=minutes)

    found: list[int] = []
    cursor = ""
    for _ in range(3):
        page = await gateway.ask("GET", f"/api/v1/stores/Scanner%201/reports?limit=1{cursor}")
        ReportPage.model_validate(page.json)
        found += [item["seen"] for item in page.json["items"]]
        cursor = f"&cursor={page.json['next']}"

    assert found == [10, 5, 0]
    assert page.json["next"] is None


async def test_what_is_done_to_a_store_is_audited_and_what_is_refused_is_not(gateway: Served) -> None:
    await add(gateway)
    address = "/api/v1/stores/Scanner%201"
    assert (await gateway.ask("POST", "/api/v1/stores", json={"name": "Scanner 1", "root": "/x"})).status == 409
    for state in ("paused", "paused", "active"):
        await gateway.ask("PATCH", address, json={"state": state})
    await gateway.ask("DELETE", address)

    audits = await gateway.store.audits.find({})

    # Once each. Their times are of one millisecond, often, and tell no order.
    assert sorted(audit.action for audit in audits) == ["store-add", "store-pause", "store-remove", "store-resume"]
    assert {(audit.by, audit.subjects) for audit in audits} == {("admin (API)", ("Scanner 1: /data/scanner",))}


async def test_a_paused_store_is_not_looked_at_by_a_tick_of_its_own(gateway: Served) -> None:
    await add(gateway)
    await gateway.ask("PATCH", "/api/v1/stores/Scanner%201", json={"state": "paused"})

    refused = await gateway.ask("POST", "/api/v1/ticks", json={"store": "Scanner 1"})

    assert (refused.status, refused.json["detail"]) == (409, "The store Scanner 1 is paused.")
    assert not gateway.bus.broker["slidemill.sync.express"].ready


async def test_stores_are_listed_page_by_page_in_order_of_creation(gateway: Served) -> None:
    names = ["c", "a", "b"]
    now = gateway.gateway.clock.now()
    for n, name in enumerate(names):
        made = FolderStore(
            id=f"{9 - n:032x}", name=name, root=f"/{name}", owner="0" * 32, created=now + timedelta(seconds=n)
        )
        await gateway.store.stores.insert(made)

    found: list[str] = []
    cursor = ""
    for _ in names:
        page = await gateway.ask("GET", f"/api/v1/stores?limit=1{cursor}")
        found += [item["name"] for item in page.json["items"]]
        cursor = f"&cursor={page.json['next']}"

    assert found == names
    assert page.json["next"] is None
