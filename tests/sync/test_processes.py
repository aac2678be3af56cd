"""Timer, sync and viewer as processes of their own, on a real broker and database."""

import uuid
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

from shared.bus.rabbit import RabbitBus, apply
from shared.clock import SystemClock
from shared.http.identity import ensure_admin
from shared.service.connecting import deployment_claim
from shared.store.documents.folders import FolderStore
from shared.store.documents.images import Image, Session
from shared.store.documents.versions import Version, VersionId
from shared.tiles import Tile
from shared.tiles.geometry import Geometry, Position
from shared.tiles.keys import tile_key
from tests.sync.place import Place, until
from tests.sync.watching import slide

pytestmark = pytest.mark.broker


async def test_ticks_pass_from_the_timers_to_the_sync_service_and_each_is_done_once(place: Place) -> None:
    async with AsyncExitStack() as running:
        for module in ("services.sync", "services.sync.timer", "services.sync.timer"):
            await running.enter_async_context(place.service(module))

        async def three_done() -> bool:
            return await place.store.ticks.count({"done": True}) >= 3

        await until(three_done, "three ticks are done")

    ticks = await place.store.ticks.find({"done": True})
    steps = {"relayed", "reissued", "expired", "failed", "superseded", "swept"}
    assert {*steps, "missed", "seconds"} == set(ticks[0].report)
    assert len(ticks) == len({tick.id for tick in ticks})


async def test_a_tick_puts_an_image_that_stands_still_back_on_the_broker(place: Place) -> None:
    now = SystemClock().now()
    await place.store.prepare()
    id = VersionId(image=uuid.uuid4().hex, n=1)
    await place.store.versions.insert(
        Version.model_validate(
            {
                "_id": id,
                "session": "5" * 32,
                "file": id.image,
                "name": "a.svs",
                "length": 8,
                "md5": "m",
                "sha256": "s",
                "state": "dicing",
                "stages": {"upload": {"started": now, "ended": now}},
                "created": now,
                "updated": now - timedelta(minutes=5),
            }
        )
    )

    await apply(place.amqp, place.name, await deployment_claim(place.store))
    async with place.service("services.sync"), place.service("services.sync.timer"):

        async def announced() -> bool:
            version = await place.store.versions.get(id)
            return version is not None and version.reissues == 1

        await until(announced, "the image is announced again")

    bus = RabbitBus(place.amqp, place.name)
    await bus.connect(await deployment_claim(place.store))
    try:

        async def queued_once() -> bool:
            return (1, 0) == (await bus.depth("dicer"), await bus.depth("pyramid"))

        await until(queued_once, "its fact waits for a dicer, once")
    finally:
        await bus.close()


async def test_what_a_run_of_a_store_found_is_told_as_metrics(place: Place, tmp_path: Path) -> None:
    await place.store.prepare()
    (tmp_path / "a.svs").write_bytes(slide("a"))
    (tmp_path / "empty.svs").touch()
    await place.store.stores.insert(
        FolderStore(id="f" * 32, name="Scanner 1", root=str(tmp_path), owner="a" * 32, created=SystemClock().now())
    )
    place.environment["SLIDEMILL_SYNC_STABLE"] = "0.2"
    about = f'database="{place.name}",store="Scanner 1"'
    wanted = {
        f'slidemill_store_run_files{{{about},what="seen"}} 1',
        f'slidemill_store_run_skipped{{{about},reason="empty"}} 1',
        f'slidemill_store_imports_total{{{about},outcome="new"}} 1',
        f"slidemill_store_import_bytes_total{{{about}}} {len(slide('a'))}",
    }
    async with (
        place.service("services.sync") as address,
        place.service("services.sync.timer"),
        ClientSession() as http,
    ):

        async def told() -> bool:
            async with http.get(f"{address}/metrics") as response:
                return response.status == 200 and wanted <= set((await response.text()).splitlines())

        await until(told, "the run is told")
        async with http.get(f"{address}/metrics") as response:
            assert "slidemill_messages_total{" in await response.text()


async def test_the_viewer_serves_a_tile_from_the_database_to_whoever_has_a_token(place: Place) -> None:
    now = SystemClock().now()
    id = VersionId(image=uuid.uuid4().hex, n=1)
    geometry = Geometry(width=10, height=10, tile=256)
    async with place.service("services.viewer") as address:
        admin = await ensure_admin(place.store, "secret", SystemClock())
        await place.store.sessions.insert(Session(id="5" * 32, title="Case 12", owner=admin.id, created=now))
        await place.store.images.insert(
            Image(id=id.image, session="5" * 32, name="a.svs", latest=1, current=1, created=now)
        )
        await place.store.versions.insert(
            Version.model_validate(
                {
                    "_id": id,
                    "session": "5" * 32,
                    "file": "f",
                    "name": "a.svs",
                    "state": "ready",
                    "geometry": geometry,
                    "created": now,
                    "updated": now,
                }
            )
        )
        await place.tiles.put([Tile(tile_key(id.image, 1, Position(0, 0, 0)), b"a whole JPEG file")])
        tile = f"{address}/api/v1/images/{id.image}/image_files/4/0_0.jpeg"

        async with ClientSession() as http:
            async with http.get(tile) as refused:
                assert 401 == refused.status
            async with http.get(tile, headers={"Authorization": "Bearer secret"}) as response:
                assert (200, b"a whole JPEG file") == (response.status, await response.read())
