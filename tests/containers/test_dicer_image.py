"""The dicer's image, built by its Dockerfile, dices a slide against a broker and a database outside of it."""

import asyncio
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pytest
import simplejpeg

from deploy.local.ports import free_port
from deploy.local.rabbitmq import RabbitMQ
from shared.blobs.gridfs import GridFSBlobs
from shared.bootstrap import bootstrap
from shared.bus import Message
from shared.bus.rabbit import RabbitBus
from shared.clock import SystemClock
from shared.mongo import connect
from shared.service.connecting import deployment_claim
from shared.stages.facts import announcement
from shared.store.documents.versions import VersionId
from shared.store.mongo import MongoStore
from shared.tiles.keys import level_range
from shared.tiles.mongo import MongoTiles
from tests.containers.images import build, buildah, run
from tests.pipeline.mill import store_upload
from tests.slides.aperio import write_svs

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

SERVICE_UID = 10001


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """A working container of the freshly built image."""
    assert os.geteuid() == 0, "building images in a chroot needs root: run make test-containers as root"
    image = build("dicer")
    name = run(buildah("from", "--pull-never", image), seconds=300)
    yield name
    run(buildah("rm", name), seconds=120)


async def test_the_dicers_image_dices_a_slide(container: str, mongod: str, rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    database, prefix, port = f"containers-{uuid.uuid4().hex[:8]}", f"c{uuid.uuid4().hex[:8]}", free_port()
    await bootstrap(mongodb=mongod, database=database, amqp=rabbitmq.amqp, prefix=prefix, scratch=tmp_path, token=None)
    settings = {
        "SLIDEMILL_MONGODB": mongod,
        "SLIDEMILL_DATABASE": database,
        "SLIDEMILL_AMQP": rabbitmq.amqp,
        "SLIDEMILL_PREFIX": prefix,
        "SLIDEMILL_HTTP_HOST": "127.0.0.1",
        "SLIDEMILL_HTTP_PORT": str(port),
    }
    environment = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    options = ["--isolation", "chroot", "--network", "host", *environment]
    log = tmp_path / "dicer.log"
    command = buildah("run", *options, container, "--", "python", "-m", "services.dicer")
    with _running(command, log) as service:
        await _until_ready(port, service, log)
        uids = {process.uids().real for process in _dicers(service.pid)}
        assert uids == {SERVICE_UID}

        slide = tmp_path / "slide.svs"
        write_svs(slide, 2300, 1900)
        await _dice(slide, uuid.uuid4().hex, mongod, database, rabbitmq.amqp, prefix)


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The service while the context is open; stopped by the pid that it has behind buildah's own."""
    with log.open("wb") as output:
        service = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield service
    finally:
        for process in _dicers(service.pid):
            process.terminate()
        service.wait(60)


async def _until_ready(port: int, service: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(90), aiohttp.ClientSession() as http:
        while True:
            assert service.poll() is None, log.read_text()[-2000:]
            try:
                async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


async def _dice(slide: Path, image: str, mongod: str, database: str, amqp: str, prefix: str) -> None:
    """Announces the slide as an upload would and waits for its base level."""
    client = connect(mongod)
    store, tiles = MongoStore(client, database), MongoTiles(client, database)
    bus = RabbitBus(amqp, prefix)
    try:
        blobs = GridFSBlobs(client, database, slide.parent / "scratch", 2**30)
        await store_upload(slide, image, store=store, blobs=blobs, now=SystemClock().now())
        await bus.connect(await deployment_claim(store))
        id = VersionId(image=image, n=1)
        version = await store.versions.get(id)
        assert version is not None
        fact = announcement(version, database)
        assert fact is not None
        await bus.publish_to("dicer", "express", [Message(fact)])
        async with asyncio.timeout(90):
            while version.state == "dicing":
                await asyncio.sleep(0.2)
                version = await store.versions.get(id)
                assert version is not None
        assert version.state == "folding", version.failure
        assert version.stages.dice.ended is not None
        stored = [tile async for tile in tiles.scan(level_range(image, 1, 0))]
        assert len(stored) == 9 * 8
        assert max(np.std(simplejpeg.decode_jpeg(tile.data)) for tile in stored) > 10
    finally:
        await bus.close()
        client.close()


def _dicers(parent: int) -> list[psutil.Process]:
    """The service's own processes below buildah's."""
    try:
        below = psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in below if "services.dicer" in " ".join(process.cmdline())]
