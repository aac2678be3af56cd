"""What a browser gets from the viewer, over real HTTP."""

from datetime import timedelta
from typing import Any

import pytest
import simplejpeg
from aiohttp import ClientResponse, ClientSession

from shared.remembered import MOMENT
from shared.store.documents.versions import VersionId
from shared.tiles.geometry import Geometry, Position
from shared.tiles.keys import version_range
from tests.viewer.conftest import IMAGE, Site, picture, shade

TILE = "image_files/10/0_0.jpeg"


async def get(site: Site, path: str, **headers: str) -> tuple[ClientResponse, bytes]:
    async with site.http.get(site.address(path), headers=headers) as response:
        return response, await response.read()


async def problem(site: Site, path: str, **headers: str) -> dict[str, Any]:
    async with site.http.get(site.address(path), headers=headers) as response:
        assert "application/problem+json" == response.content_type
        body: dict[str, Any] = await response.json()
        assert response.status == body["status"]
        return body


async def test_description_gives_the_slides_size_and_its_own_tile_size(site: Site) -> None:
    await site.put_version(geometry=Geometry(width=20000, height=15000, tile=240))

    response, body = await get(site, "image.dzi")

    assert (200, "application/xml") == (response.status, response.content_type)
    assert b'TileSize="240" Overlap="0" Format="jpeg"' in body
    assert b'<Size Width="20000" Height="15000"/>' in body


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("10/0_0", (256, 256, 0)),
        ("10/2_1", (88, 144, 12)),
        ("9/1_0", (44, 200, 61)),
        ("8/0_0", (150, 100, 120)),
    ],
)
async def test_stored_tiles_are_found_under_deep_zooms_numbers(
    site: Site, path: str, expected: tuple[int, int, int]
) -> None:
    await site.put_version()
    await site.put_tiles()

    response, body = await get(site, f"image_files/{path}.jpeg")

    assert (200, "image/jpeg") == (response.status, response.content_type)
    assert expected[:2] == shade(body)[:2]
    assert expected[2] == pytest.approx(shade(body)[2], abs=2)


@pytest.mark.parametrize(("level", "width", "height"), [(7, 75, 50), (4, 10, 7), (1, 2, 1), (0, 1, 1)])
async def test_levels_below_one_tile_are_made_from_the_last_stored_one(
    site: Site, level: int, width: int, height: int
) -> None:
    await site.put_version()
    await site.put_tiles()

    response, body = await get(site, f"image_files/{level}/0_0.jpeg")

    assert 200 == response.status
    assert (width, height) == shade(body)[:2]
    assert 120 == pytest.approx(shade(body)[2], abs=3)


@pytest.mark.parametrize("path", ["11/0_0", "10/3_0", "10/0_2", "9/2_0", "7/1_0", "0/0_1", "999999999/0_0"])
async def test_a_position_outside_the_grid_is_404(site: Site, path: str) -> None:
    await site.put_version(sparse=1)
    await site.put_tiles()

    body = await problem(site, f"image_files/{path}.jpeg")

    assert 404 == body["status"]
    assert "Präparat 7.svs" in body["detail"]


@pytest.mark.parametrize("path", ["image_files/10/-1_0.jpeg", "image_files/x/0_0.jpeg", "image_files/10/0_0.png"])
async def test_an_address_that_is_no_tile_is_404(site: Site, path: str) -> None:
    await site.put_version()

    assert 404 == (await problem(site, path))["status"]


@pytest.mark.parametrize("state", ["dicing", "folding", "finishing"])
async def test_while_building_what_exists_is_served_and_the_rest_is_404(site: Site, state: str) -> None:
    await site.put_version(state=state)
    await site.put_tiles(levels=range(1), but=frozenset({Position(0, 0, 1)}))

    there, _ = await get(site, "image_files/10/0_0.jpeg")
    missing = await problem(site, "image_files/10/1_0.jpeg")
    unfolded = await problem(site, "image_files/3/0_0.jpeg")
    described, _ = await get(site, "image.dzi")

    assert (200, 200) == (there.status, described.status)
    assert (404, 404) == (missing["status"], unfolded["status"])
    assert "not built yet" in missing["detail"]


async def test_a_browser_does_not_remember_that_a_tile_was_not_there(site: Site) -> None:
    await site.put_version(state="dicing")

    response, _ = await get(site, TILE)

    assert (404, "no-store") == (response.status, response.headers["Cache-Control"])


async def test_a_tile_the_scanner_left_out_is_white_once_the_image_is_ready(site: Site) -> None:
    await site.put_version(sparse=3)
    await site.put_tiles(levels=range(2), but=frozenset({Position(0, 1, 2), Position(1, 0, 1)}))

    _, corner = await get(site, "image_files/10/2_1.jpeg")
    _, edge = await get(site, "image_files/9/1_0.jpeg")
    _, last = await get(site, "image_files/8/0_0.jpeg")
    _, below = await get(site, "image_files/7/0_0.jpeg")

    sizes = [shade(tile) for tile in (corner, edge, last, below)]
    assert [(88, 144, 255), (44, 200, 255), (150, 100, 255), (75, 50, 255)] == sizes


async def test_a_lost_tile_of_a_slide_without_gaps_is_not_shown_as_an_empty_place(site: Site) -> None:
    await site.put_version(sparse=0)
    await site.put_tiles(but=frozenset({Position(0, 1, 2)}))

    assert "missing" in (await problem(site, "image_files/10/2_1.jpeg"))["detail"]


async def test_the_current_version_stays_visible_while_the_next_one_is_made(site: Site) -> None:
    await site.put_version(1)
    await site.put_tiles(1)
    await site.put_version(2, state="dicing", geometry=Geometry(width=9000, height=9000, tile=256))

    _, shown = await get(site, "image.dzi")
    _, asked = await get(site, "image.dzi?v=2")

    assert b'Width="600"' in shown
    assert b'Width="9000"' in asked


async def test_a_new_version_is_shown_a_moment_after_it_is_published(site: Site) -> None:
    await site.put_version(1)
    await get(site, "image.dzi")
    await site.put_version(2, geometry=Geometry(width=9000, height=9000, tile=256))

    site.clock.advance(MOMENT.total_seconds())
    _, body = await get(site, "image.dzi")

    assert b'Width="9000"' in body


async def test_a_version_in_the_address_may_be_kept_for_ever(site: Site) -> None:
    await site.put_version()
    await site.put_tiles()

    response, _ = await get(site, f"{TILE}?v=1")

    assert "private, max-age=31536000, immutable" == response.headers["Cache-Control"]
    assert response.headers["ETag"]


async def test_without_a_version_the_browser_asks_again_and_gets_304_for_what_it_has(site: Site) -> None:
    await site.put_version()
    await site.put_tiles()
    await site.put_thumbnail("thumbnail", picture(60, 40, 90))

    for path in (TILE, "image_files/3/0_0.jpeg", "image.dzi", "image.dzi?v=1", "thumbnail"):
        first, _ = await get(site, path)
        again, body = await get(site, path, **{"If-None-Match": f'"other", {first.headers["ETag"]}'})
        other, _ = await get(site, path, **{"If-None-Match": '"other"'})

        assert "private, no-cache" == first.headers["Cache-Control"], path
        assert (304, b"") == (again.status, body), path
        assert first.headers["ETag"] == again.headers["ETag"], path
        assert 200 == other.status, path


async def test_a_tile_of_the_next_version_is_not_taken_for_the_last_ones(site: Site) -> None:
    await site.put_version(1)
    await site.put_tiles(1)
    first, _ = await get(site, TILE)
    await site.put_version(2)
    await site.put_tiles(2)
    site.clock.advance(MOMENT.total_seconds())

    second, _ = await get(site, TILE, **{"If-None-Match": first.headers["ETag"]})

    assert 200 == second.status


@pytest.mark.parametrize("asked", ["0", "-1", "x", "1.5", "", "٣", "9" * 30])
async def test_a_version_that_is_no_number_is_400(site: Site, asked: str) -> None:
    await site.put_version()

    async with site.http.get(site.address("image.dzi"), params={"v": asked}) as response:
        assert 400 == response.status


async def test_a_version_that_does_not_exist_is_404_and_says_what_to_do(site: Site) -> None:
    await site.put_version()

    body = await problem(site, "image.dzi?v=7")

    assert (404, "Präparat 7.svs has no such version any more.") == (body["status"], body["detail"])
    assert body["remedy"]


async def test_an_image_that_failed_says_why(site: Site) -> None:
    await site.put_version(state="failed", geometry=None)

    body = await problem(site, "image.dzi")

    assert (404, "Scan it again.") == (body["status"], body["remedy"])
    assert "It is cut short." in body["detail"]


async def test_an_image_that_is_still_coming_in_says_so(site: Site) -> None:
    await site.put_version(state="uploading", geometry=None)

    body = await problem(site, "image.dzi")

    assert 404 == body["status"]
    assert "can't be seen yet" in body["detail"]


async def test_thumbnail_label_and_macro_come_as_they_were_stored(site: Site) -> None:
    await site.put_version()
    kinds = {"thumbnail": "thumbnail", "label": "associated/label", "macro": "associated/macro"}
    for level, kind in enumerate(kinds):
        await site.put_thumbnail(kind, picture(60, 40, 50 * level))

    for level, path in enumerate(kinds.values()):
        response, body = await get(site, path)

        assert (200, "image/jpeg") == (response.status, response.content_type)
        assert picture(60, 40, 50 * level) == body


@pytest.mark.parametrize(("path", "kind"), [("thumbnail", "thumbnail"), ("associated/label", "label")])
async def test_a_picture_that_is_not_there_is_404(site: Site, path: str, kind: str) -> None:
    await site.put_version(state="folding")
    building = await problem(site, path)
    await site.put_version(2)
    site.clock.advance(MOMENT.total_seconds())
    ready = await problem(site, path)

    assert (404, f"Präparat 7.svs has no {kind} yet.") == (building["status"], building["detail"])
    assert (404, f"Präparat 7.svs has no {kind}.") == (ready["status"], ready["detail"])


async def test_only_label_and_macro_are_associated_pictures(site: Site) -> None:
    await site.put_version()

    assert 404 == (await problem(site, "associated/thumbnail"))["status"]


PATHS = ["image.dzi", TILE, f"{TILE}?v=1", "thumbnail", "associated/label"]


@pytest.mark.parametrize("path", PATHS)
async def test_only_the_owner_and_administrators_see_anything(site: Site, path: str) -> None:
    await site.put_version()
    await site.put_tiles()
    for kind in ("thumbnail", "label"):
        await site.put_thumbnail(kind, picture(6, 4, 0))

    async with ClientSession() as nobody, nobody.get(site.address(path)) as response:
        assert 401 == response.status
    answers = {
        name: (await get(site, path, Authorization=f"Bearer {name}"))[0].status
        for name in ("owner", "stranger", "admin", "unknown")
    }
    assert {"owner": 200, "stranger": 404, "admin": 200, "unknown": 401} == answers


async def test_a_foreign_image_looks_like_one_that_does_not_exist(site: Site) -> None:
    await site.put_version()

    foreign = await problem(site, "image.dzi", Authorization="Bearer stranger")
    async with site.http.get(site.address("image.dzi", image="e" * 32)) as response:
        absent = await response.json()

    assert absent == foreign


async def test_the_pages_cookie_opens_a_tile(site: Site) -> None:
    await site.put_version()
    await site.put_tiles()

    async with (
        ClientSession(headers={"Cookie": "slidemill=page"}) as page,
        page.get(site.address(TILE)) as mine,
        ClientSession(headers={"Cookie": "slidemill=other"}) as other,
        other.get(site.address(TILE)) as refused,
    ):
        assert (200, 401) == (mine.status, refused.status)


async def test_a_token_that_was_taken_away_opens_nothing_a_moment_later(site: Site) -> None:
    await site.put_version()
    await site.put_tiles()
    before, _ = await get(site, TILE)
    await site.store.tokens.delete({})
    site.clock.advance(MOMENT.total_seconds())

    after, _ = await get(site, TILE)

    assert (200, 401) == (before.status, after.status)


async def test_a_deleted_image_is_gone_a_moment_later(site: Site) -> None:
    await site.put_version()
    await site.put_tiles()
    before, _ = await get(site, f"{TILE}?v=1")
    await site.store.images.delete({"_id": IMAGE})
    site.clock.advance(MOMENT.total_seconds())

    after, _ = await get(site, f"{TILE}?v=1")

    assert (200, 404) == (before.status, after.status)


async def test_a_clock_that_is_set_back_does_not_keep_an_old_answer(site: Site) -> None:
    await site.put_version(1)
    await get(site, "image.dzi")
    await site.put_version(2, geometry=Geometry(width=9000, height=9000, tile=256))

    site.clock.advance(-timedelta(hours=2).total_seconds())
    _, body = await get(site, "image.dzi")

    assert b'Width="9000"' in body


async def test_head_answers_without_a_body_and_with_the_length(site: Site) -> None:
    await site.put_version()
    await site.put_tiles()
    _, body = await get(site, TILE)

    async with site.http.head(site.address(TILE)) as response:
        assert (200, str(len(body))) == (response.status, response.headers["Content-Length"])
        assert b"" == await response.read()


async def test_nothing_can_be_written(site: Site) -> None:
    await site.put_version()

    async with site.http.post(site.address("image.dzi")) as response:
        assert (405, "application/problem+json") == (response.status, response.content_type)


async def test_no_answer_may_be_taken_for_another_type(site: Site) -> None:
    await site.put_version()
    await site.put_tiles()

    for path in (TILE, "image.dzi", "thumbnail"):
        response, _ = await get(site, path)

        assert "nosniff" == response.headers["X-Content-Type-Options"], path


async def test_a_slide_of_one_pixel_can_be_seen(site: Site) -> None:
    await site.put_version(sparse=1, geometry=Geometry(width=1, height=1, tile=256))

    response, body = await get(site, "image_files/0/0_0.jpeg")
    beyond = await problem(site, "image_files/1/0_0.jpeg")

    assert (200, (1, 1, 3)) == (response.status, simplejpeg.decode_jpeg(body).shape)
    assert 404 == beyond["status"]


async def test_an_old_version_whose_tiles_are_being_removed_shows_no_background_where_they_were(site: Site) -> None:
    await site.put_version(sparse=1)
    await site.put_tiles()
    await site.put_version(2)
    before, _ = await get(site, f"{TILE}?v=1")

    # Within the moment for which the version is remembered.
    await site.store.versions.take(VersionId(image=IMAGE, n=1))
    await site.tiles.delete(version_range(IMAGE, 1))
    body = await problem(site, f"{TILE}?v=1")

    assert 200 == before.status
    assert (404, "Präparat 7.svs has no such version any more.") == (body["status"], body["detail"])
