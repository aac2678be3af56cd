"""Slides that are deleted while real services work on them, and the file that another image shares with them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from shared.tiles.keys import image_range
from tests.running import RunningStack, eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]


def offer(stack: RunningStack, session: str, path: Path) -> str:
    """The image of a file that is stored already."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    address = f"/sessions/{session}/files?name=again.svs&sha256={digest}"
    status, told = stack.request("POST", address, b"", {"Content-Range": f"bytes */{len(data)}"})
    assert status == 201, (status, told)
    return str(json.loads(told)["image"])


def left(stack: RunningStack, image: str) -> dict[str, int]:
    """What the database still holds of an image besides its tombstone and the end of its upload."""
    keys = image_range(image)
    with MongoClient[dict[str, Any]](stack.mongodb) as client:
        database = client["slidemill"]
        counts = {
            "images": database["images"].count_documents({"_id": image}),
            "versions": database["versions"].count_documents({"_id.image": image}),
            "blocks": database["blocks"].count_documents({"_id.image": image}),
            "thumbnails": database["thumbnails"].count_documents({"_id": {"$regex": f"^{image}"}}),
            "tiles": database["tiles"].count_documents({"_id": {"$gte": keys.first, "$lte": keys.last}}),
            "owners": database["fs.files"].count_documents({"metadata.refs": f"{image}:1"}),
        }
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("stage", ["dice", "fold"])
def test_a_slide_that_is_deleted_while_it_is_worked_on_leaves_nothing_and_no_dead_letter(
    stack: RunningStack, large_slide: Path, large_image: dict[str, Any], stage: str
) -> None:
    session = stack.session(f"deleted while the services {stage}")
    letters = stack.run("dead", "list")
    image = offer(stack, session, large_slide)
    eventually(lambda: stack.image(image)["stages"][stage]["done"] > 0, 60, f"no stage {stage} began")

    status, _ = stack.request("DELETE", f"/images/{image}")

    assert status == 204
    assert stack.request("GET", f"/images/{image}")[0] == 404
    assert json.loads(stack.get(f"/sessions/{session}/images"))["items"] == []
    # Whatever the workers had in their hands comes to its end: another image passes through all of them meanwhile.
    after = offer(stack, session, large_slide)
    eventually(lambda: stack.image(after)["state"] == "ready", 120, "the next slide does not get ready")
    with MongoClient[dict[str, Any]](stack.mongodb) as client:
        # Not to wait for the minute after which late writes are looked for.
        client["slidemill"]["tombstones"].update_many({}, {"$currentDate": {"due": True}})
    eventually(lambda: not left(stack, image), 60, f"something is left of {image}")
    assert stack.run("dead", "list") == letters
    assert stack.image(after)["tiles"] == large_image["tiles"]


def test_the_original_comes_back_through_the_one_address(
    stack: RunningStack, large_slide: Path, large_image: dict[str, Any]
) -> None:
    data = large_slide.read_bytes()
    address = f"/images/{large_image['id']}/file"

    assert hashlib.sha256(stack.get(address)).hexdigest() == large_image["sha256"]
    assert stack.request("GET", address, headers={"Range": "bytes=1000000-1000099"}) == (206, data[1000000:1000100])
    assert stack.request("GET", address, headers={"Range": f"bytes={len(data)}-"})[0] == 416
    assert stack.request("GET", address, known=False)[0] == 401
