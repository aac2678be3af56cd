"""kill -9 of a service or a server while a slide is on its way: the image becomes ready as if nothing had happened."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from shared.errors import Unavailable
from shared.mongo import connect, translated
from shared.tiles.keys import version_range
from shared.tiles.mongo import MongoTiles
from tests.running import ROOT, RunningStack, eventually
from tests.slides import plain

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(500)]

FINAL = ("ready", "failed")
Version = dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(stack: RunningStack, large_image: dict[str, Any]) -> dict[bytes, str]:
    """The tiles of the large slide when nothing died."""
    assert large_image["state"] == "ready", large_image["failure"]
    return tiles_of(stack, large_image["id"])


def tiles_of(stack: RunningStack, image: str) -> dict[bytes, str]:
    """Every stored tile of an image: its key without the image's part, and the digest of its bytes."""

    async def scan() -> dict[bytes, str]:
        client = connect(stack.mongodb)
        try:
            tiles = MongoTiles(client, "slidemill").scan(version_range(image, 1))
            return {tile.key[16:]: hashlib.sha256(tile.data).hexdigest() async for tile in tiles}
        finally:
            client.close()

    return asyncio.run(scan())


def uploading(version: Version) -> bool:
    """Some bytes have arrived, not yet all."""
    return bool(version["state"] == "uploading" and version["stages"]["upload"]["done"])


def cutting(version: Version) -> bool:
    """A dicer is at work."""
    return bool(version["state"] == "dicing" and "dice" in version["planned"])


def folding(version: Version) -> bool:
    """A pyramid is at work."""
    return bool(version["state"] == "folding" and "fold" in version["planned"])


@pytest.mark.parametrize(
    ("victim", "when"),
    [
        ("upload", uploading),
        ("upload", cutting),
        ("dicer", cutting),
        ("pyramid", folding),
        ("sync", cutting),
        ("timer", cutting),
        ("viewer", folding),
        ("mongod", uploading),
        ("mongod", cutting),
        ("mongod", folding),
        ("rabbitmq", cutting),
        ("nginx", uploading),
    ],
)
def test_what_is_killed_costs_nothing(
    stack: RunningStack,
    large_slide: Path,
    undisturbed: dict[bytes, str],
    victim: str,
    when: Callable[[Version], bool],
) -> None:
    """The image is there once, becomes ready by itself, and has the very tiles of the undisturbed run."""
    title = f"{victim} killed while {when.__name__}"
    session = stack.session(title)
    pid = stack.pid(victim)
    command: list[str | Path] = [
        ROOT / "slidemill",
        "upload",
        large_slide,
        "--session",
        title,
        "--data",
        stack.data,
        "--json",
    ]
    with MongoClient[Version](stack.mongodb) as client:
        versions = client["slidemill"]["versions"]

        def hit() -> bool:
            version = versions.find_one({"session": session})
            assert version is None or version["state"] not in FINAL, "it was over before it could be disturbed"
            return version is not None and when(version)

        sender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            eventually(hit, 120, f"the slide never came to where {victim} was to be killed")
            os.kill(pid, signal.SIGKILL)
            told = sender.communicate(timeout=120)[1]
        finally:
            sender.kill()
            sender.wait()
        assert sender.returncode == 0, told.decode()

        def ended() -> list[Version] | None:
            try:
                with translated():
                    found = list(versions.find({"session": session}))
            except Unavailable:
                return None  # it was the database that was killed
            return found if found and all(version["state"] in FINAL for version in found) else None

        [version] = eventually(ended, 150, f"the slide did not become ready after {victim} was killed")
    assert version["state"] == "ready", version["failure"]
    assert tiles_of(stack, version["_id"]["image"]) == undisturbed


def test_what_was_acknowledged_outlives_the_gateway(stack: RunningStack, tmp_path: Path) -> None:
    """Killed right after it acknowledged the last byte, with no further request: the image is ready in a minute."""
    data = plain.write("striped", tmp_path).read_bytes()
    session = stack.session("acknowledged")
    pid = stack.pid("upload")

    status, body = stack.request(
        "POST",
        f"/sessions/{session}/files?name=acknowledged.tif",
        data,
        {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}", "Content-Type": "application/octet-stream"},
    )
    os.kill(pid, signal.SIGKILL)

    assert status == 201, body
    answer = json.loads(body)
    assert answer["done"]
    with MongoClient[Version](stack.mongodb) as client:
        eventually(
            lambda: client["slidemill"]["versions"].find_one({"_id.image": answer["image"], "state": "ready"}),
            60,
            "the acknowledged file did not become ready",
        )
