"""From a file to tiles in a browser: real servers, real processes, two dicers and two pyramids of one slot each."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import simplejpeg
from pymongo import MongoClient

from tests.running import RunningStack, eventually
from tests.slides import plain
from tests.slides.aperio import write_svs

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]


def tile_path(image: dict[str, Any], level: int, col: int, row: int) -> str:
    """Address of a tile by stored level (0 is full resolution)."""
    deepest = math.ceil(math.log2(max(image["width"], image["height"]))) if image["width"] > 1 else 0
    return f"/images/{image['id']}/image_files/{deepest - level}/{col}_{row}.jpeg"


def grid(image: dict[str, Any], level: int = 0) -> tuple[int, int]:
    """Columns and rows of a stored level."""
    scale = image["tile_size"] * 2**level
    return math.ceil(image["width"] / scale), math.ceil(image["height"] / scale)


def decoded(data: bytes) -> Any:
    """RGB pixels of a JPEG file."""
    return simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)


def assert_base_equals(stack: RunningStack, image: dict[str, Any], path: Path, step: int = 1) -> None:
    """Every `step`th whole base tile has exactly the pixels that OpenSlide reads there."""
    tile = image["tile_size"]
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (image["width"], image["height"])
        places = [(c, r) for r in range(image["height"] // tile) for c in range(image["width"] // tile)]
        for col, row in places[::step]:
            expected = np.asarray(slide.read_region((col * tile, row * tile), 0, (tile, tile)).convert("RGB"))
            found = decoded(stack.get(tile_path(image, 0, col, row)))
            assert np.array_equal(found, expected), (path.name, col, row)


def test_workers_share_one_large_slide(stack: RunningStack, large_slide: Path, large_image: dict[str, Any]) -> None:
    """Two dicers and two pyramids each do a part of it, and the tiles are the slide's own."""
    image = large_image

    assert image["state"] == "ready", image["failure"]
    assert image["base"] == "copied"
    with MongoClient[dict[str, Any]](stack.mongodb) as client:
        version = client["slidemill"]["versions"].find_one({"_id.image": image["id"]})
    assert version is not None
    assert set(version["workers"]) == {"dicer", "dicer-2", "pyramid", "pyramid-2"}
    for stage in ("dice", "fold"):
        assert image["stages"][stage]["done"] == image["stages"][stage]["total"] > 0
    ordered = [
        image["stages"][stage][at] for stage in ("upload", "dice", "fold", "finish") for at in ("started", "ended")
    ]
    assert ordered == sorted(ordered)
    assert image["md5"] == hashlib.md5(large_slide.read_bytes()).hexdigest()
    assert_base_equals(stack, image, large_slide, step=23)


@pytest.mark.parametrize("tile", [240, 256, 512])
@pytest.mark.parametrize("photometric", ["ycbcr", "rgb"])
def test_a_copied_base_has_the_slides_pixels(stack: RunningStack, tmp_path: Path, tile: int, photometric: Any) -> None:
    """Whatever the tile's size and colour: no decoding, hence no loss."""
    path = tmp_path / f"{photometric}-{tile}.svs"
    write_svs(path, 1500, 1100, tile=tile, photometric=photometric)

    image = stack.upload(path)[path.name]

    assert (image["state"], image["base"], image["tile_size"]) == ("ready", "copied", tile), image["failure"]
    assert_base_equals(stack, image, path)


def test_every_level_answers_and_nothing_else(stack: RunningStack, tmp_path: Path) -> None:
    """Tiles of all Deep Zoom levels are there in their exact sizes; outside of the grid there is nothing."""
    path = tmp_path / "Schnitt 7, Präparat (ä ö ü) 100%.svs"
    write_svs(path, 1500, 1100)

    image = stack.upload(path)[path.name]

    assert image["name"] == path.name
    assert stack.image(image["id"])["name"] == path.name
    description = stack.get(f"/images/{image['id']}/image.dzi").decode()
    assert 'Width="1500"' in description
    assert 'Height="1100"' in description
    deepest = 11
    for level in range(deepest + 1):
        width, height = (math.ceil(side / 2 ** (deepest - level)) for side in (1500, 1100))
        cols, rows = math.ceil(width / 256), math.ceil(height / 256)
        for row in range(rows):
            for col in range(cols):
                data = stack.get(f"/images/{image['id']}/image_files/{level}/{col}_{row}.jpeg")
                size = simplejpeg.decode_jpeg_header(data)[:2]
                assert size == (min(256, height - 256 * row), min(256, width - 256 * col)), (level, col, row)
        for col, row in ((cols, 0), (0, rows)):
            assert stack.request("GET", f"/images/{image['id']}/image_files/{level}/{col}_{row}.jpeg")[0] == 404
    assert stack.request("GET", f"/images/{image['id']}/image_files/{deepest + 1}/0_0.jpeg")[0] == 404


def test_pictures_that_came_with_the_slide(stack: RunningStack, tmp_path: Path) -> None:
    """Thumbnail, label and macro answer with a JPEG; a slide without label says so."""
    with_both, without = tmp_path / "with.svs", tmp_path / "without.svs"
    write_svs(with_both, 1500, 1100)
    write_svs(without, 1500, 1100, label=False)

    images = stack.upload(with_both, without, session="pictures")

    for kind in ("thumbnail", "associated/label", "associated/macro"):
        assert decoded(stack.get(f"/images/{images['with.svs']['id']}/{kind}")).size > 0
    assert decoded(stack.get(f"/images/{images['with.svs']['id']}/thumbnail")).shape[1] <= 1024
    assert stack.request("GET", f"/images/{images['without.svs']['id']}/associated/label")[0] == 404


def test_files_that_are_no_slides_fail_with_a_reason(stack: RunningStack, tmp_path: Path) -> None:
    """Each ends as an image that says what is wrong and what to do, and its name."""
    paths = [plain.write(kind, tmp_path) for kind in ("text", "truncated-tiff", "truncated-svs", "empty")]

    images = stack.upload(*paths, session="no slides")

    assert sorted(images) == sorted(path.name for path in paths)
    for image in images.values():
        assert image["state"] == "failed", image["name"]
        assert image["failure"]["reason"]
        assert image["failure"]["remedy"]
        assert not image["viewable"]


def test_plain_images_become_ready(stack: RunningStack, tmp_path: Path) -> None:
    """Formats that have to be decoded, the smallest one included."""
    paths = [plain.write(kind, tmp_path) for kind in ("one-pixel", "png", "jpeg", "striped", "bigtiff", "tiled-lzw")]

    images = stack.upload(*paths, session="plain")

    assert sorted(images) == sorted(path.name for path in paths)
    for name, image in images.items():
        assert (image["state"], image["base"]) == ("ready", "encoded"), (name, image["failure"])
        assert image["base_reason"]
        width, height = (1, 1) if name == "one-pixel.png" else (plain.WIDTH, plain.HEIGHT)
        assert (image["width"], image["height"]) == (width, height)
        for level in range(image["levels"]):
            cols, rows = grid(image, level)
            for col in range(cols):
                for row in range(rows):
                    decoded(stack.get(tile_path(image, level, col, row)))


def test_replaying_a_ready_image_changes_nothing(stack: RunningStack, tmp_path: Path) -> None:
    """Its documents and its tiles are afterwards as they were."""
    path = tmp_path / "replayed.svs"
    write_svs(path, 1500, 1100)
    images = stack.upload(path, plain.write("truncated-tiff", tmp_path), session="replayed")
    image, refused = images[path.name], images["truncated-tiff.tif"]
    assert (image["state"], refused["state"]) == ("ready", "failed")
    with MongoClient[dict[str, Any]](stack.mongodb) as client:
        database = client["slidemill"]

        def everything() -> list[Any]:
            where = {"_id.image": image["id"]}
            keys = {"$gte": bytes.fromhex(image["id"]), "$lt": bytes.fromhex(image["id"]) + b"\xff" * 13}
            return [
                database["images"].find_one({"_id": image["id"]}),
                database["versions"].find_one(where),
                list(database["blocks"].find(where)),
                list(database["tiles"].find({"_id": keys}, sort=[("_id", 1)])),
            ]

        before = everything()
        stack.run("replay", image["id"])
        # Behind it in the same queue, a replay that leaves a trace: once it is over, the other has been dealt with.
        first = database["versions"].find_one({"_id.image": refused["id"]})
        assert first is not None
        stack.run("replay", refused["id"])
        again = eventually(
            lambda: database["versions"].find_one(
                {"_id.image": refused["id"], "state": "failed", "updated": {"$gt": first["updated"]}}
            ),
            60,
            "the failed image was not tried again",
        )
        assert again["failure"] == first["failure"]

        assert everything() == before


@pytest.mark.parametrize(
    "path",
    [
        "/me",
        "/sessions",
        "/sessions/{session}",
        "/sessions/{session}/images",
        "/sessions/{session}/events",
        "/images/{image}",
        "/images/{image}/image.dzi",
        "/images/{image}/image_files/0/0_0.jpeg",
        "/images/{image}/thumbnail",
        "/images/{image}/associated/label",
    ],
)
def test_nothing_is_told_to_strangers(stack: RunningStack, tmp_path: Path, path: str) -> None:
    """Without credentials every address answers 401, as does one with a wrong token."""
    image = stack.upload(plain.write("one-pixel", tmp_path), session="secret")["one-pixel.png"]
    address = path.format(session=image["session"], image=image["id"])

    status, body = stack.request("GET", address, known=False)

    assert status == 401
    assert json.loads(body)["remedy"]
    assert stack.request("GET", address, headers={"Authorization": "Bearer wrong"}, known=False)[0] == 401


def test_strangers_send_nothing(stack: RunningStack, tmp_path: Path) -> None:
    """Nor do they get a byte in."""
    image = stack.upload(plain.write("one-pixel", tmp_path), session="secret")["one-pixel.png"]
    where = f"/sessions/{image['session']}/files?name=x.svs"

    assert stack.request("POST", where, b"x", {"Content-Range": "bytes 0-0/1"}, known=False)[0] == 401
    assert stack.request("POST", "/sessions", b'{"title": "x"}', known=False)[0] == 401
