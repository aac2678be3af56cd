import asyncio
import random
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from shared.tiles import Tile, Tiles
from shared.tiles.geometry import Position
from shared.tiles.keys import KeyRange, level_range, square_range, tile_key, version_range
from shared.tiles.memory import MemoryTiles
from shared.tiles.mongo import BATCH_BYTES, BATCH_TILES, MongoTiles, batches
from tests.contract.conftest import DATABASE, Real

IMAGE, OTHER = "a1" * 16, "a2" * 16


@pytest.fixture
async def tiles(real: Real | None) -> Tiles:
    if real is None:
        return MemoryTiles()
    tiles = MongoTiles(*real)
    await tiles.prepare()
    return tiles


def a_tile(level: int, row: int, col: int, *, image: str = IMAGE, version: int = 1, data: bytes | None = None) -> Tile:
    key = tile_key(image, version, Position(level, row, col))
    return Tile(key, key[-9:] if data is None else data)


async def scanned(tiles: Tiles, keys: KeyRange) -> list[Tile]:
    return [tile async for tile in tiles.scan(keys)]


async def test_what_is_put_can_be_got(tiles: Tiles) -> None:
    await tiles.put([first := a_tile(0, 1, 2, data=b"\xff\xd8\x00"), a_tile(0, 2, 1)])

    assert await tiles.get(first.key) == b"\xff\xd8\x00"
    assert await tiles.get(a_tile(0, 3, 3).key) is None
    await tiles.put([])


async def test_the_first_bytes_under_a_key_stay(tiles: Tiles) -> None:
    await tiles.put([a_tile(0, 0, 1, data=b"first")])

    again = [a_tile(0, 0, 0), a_tile(0, 0, 1, data=b"later"), a_tile(0, 1, 1)]
    await tiles.put(again)

    assert await tiles.get(again[1].key) == b"first"
    assert await tiles.get(again[0].key) == again[0].data
    assert await tiles.get(again[2].key) == again[2].data
    assert await tiles.count(version_range(IMAGE, 1)) == 3


async def test_a_range_is_scanned_in_the_order_of_keys_with_both_ends(tiles: Tiles) -> None:
    grid = [a_tile(0, row, col) for row in range(8) for col in range(8)]
    await tiles.put(random.sample([*grid, a_tile(1, 0, 0), a_tile(0, 0, 0, version=2)], 66))
    in_order = sorted(grid)

    assert await scanned(tiles, level_range(IMAGE, 1, 0)) == in_order
    assert await scanned(tiles, KeyRange(in_order[5].key, in_order[9].key)) == in_order[5:10]
    assert await scanned(tiles, KeyRange(in_order[9].key, in_order[5].key)) == []
    square = await scanned(tiles, square_range(IMAGE, 1, Position(0, 4, 0), 4))
    assert square == sorted(a_tile(0, row, col) for row in range(4, 8) for col in range(4))


async def test_a_scan_may_be_left_early(tiles: Tiles) -> None:
    await tiles.put([a_tile(0, 0, 0), a_tile(0, 0, 1)])

    async for tile in tiles.scan(version_range(IMAGE, 1)):
        assert tile == a_tile(0, 0, 0)
        break

    assert len(await scanned(tiles, version_range(IMAGE, 1))) == 2


async def test_ranges_of_one_image_hold_nothing_of_another(tiles: Tiles) -> None:
    mine = [a_tile(level, 0, 0, version=2) for level in range(3)]
    others = [a_tile(0, 0, 0, image=OTHER, version=2), a_tile(0, 0, 0, version=1), a_tile(0, 0, 0, version=3)]
    await tiles.put([*mine, *others])

    assert await scanned(tiles, version_range(IMAGE, 2)) == mine
    assert await tiles.count(version_range(IMAGE, 2)) == 3
    assert await tiles.count(level_range(IMAGE, 2, 1)) == 1
    assert await tiles.count(version_range(IMAGE, 4)) == 0

    assert await tiles.delete(version_range(IMAGE, 2)) == 3

    assert await tiles.delete(version_range(IMAGE, 2)) == 0
    assert await tiles.get(mine[0].key) is None
    for tile in others:
        assert await tiles.get(tile.key) == tile.data


async def test_more_tiles_than_one_batch_holds(tiles: Tiles) -> None:
    many = [a_tile(0, n // 50, n % 50) for n in range(2 * BATCH_TILES + 500)]

    await tiles.put(many)

    assert await scanned(tiles, version_range(IMAGE, 1)) == sorted(many)
    assert await tiles.count(version_range(IMAGE, 1)) == len(many)


async def test_more_bytes_than_one_message_holds(tiles: Tiles) -> None:
    large = [a_tile(0, 0, n, data=random.randbytes(700_000)) for n in range(80)]

    await tiles.put(large)
    await tiles.put(large[40:])

    assert await scanned(tiles, version_range(IMAGE, 1)) == large


async def test_two_writers_of_the_same_tiles(tiles: Tiles) -> None:
    same = [a_tile(0, n // 50, n % 50) for n in range(1500)]

    await asyncio.gather(tiles.put(same), tiles.put(same[::-1]), tiles.put(same))

    assert await scanned(tiles, version_range(IMAGE, 1)) == sorted(same)


@given(st.lists(st.integers(0, 3 * 2**20), max_size=20), st.integers(0, 2 * BATCH_TILES))
def test_batches_are_bounded_and_hold_every_tile_once(sizes: list[int], empty: int) -> None:
    whole = bytes(3 * 2**20)
    tiles = [Tile(b"", whole[:size]) for size in sizes] + [Tile(b"", b"")] * empty

    cut = list(batches(tiles))

    assert [tile for batch in cut for tile in batch] == tiles
    assert all(0 < len(batch) <= BATCH_TILES for batch in cut)
    assert all(sum(len(tile.data) for tile in batch) <= BATCH_BYTES for batch in cut)
    assert len(cut) <= 1 + sum(sizes) // (BATCH_BYTES // 2) + len(tiles) // BATCH_TILES * 2


@pytest.mark.broker
async def test_tiles_lie_uncompressed_however_many_services_start_at_once(
    emptied: Real, plain_client: MongoClient[dict[str, Any]]
) -> None:
    database = f"tiles-{uuid.uuid4().hex}"

    await asyncio.gather(*(MongoTiles(emptied.client, database).prepare() for _ in range(5)))

    stats = plain_client[database].command("collStats", "tiles")
    plain_client.drop_database(database)
    assert "block_compressor=none" in stats["wiredTiger"]["creationString"]


@pytest.mark.broker
async def test_counting_reads_no_tile(emptied: Real, plain_client: MongoClient[dict[str, Any]]) -> None:
    tiles = MongoTiles(*emptied)
    await tiles.prepare()
    await tiles.put([a_tile(0, 0, n) for n in range(50)])
    database = plain_client[DATABASE]
    database.command("profile", 2)
    try:
        assert await tiles.count(version_range(IMAGE, 1)) == 50
    finally:
        database.command("profile", 0)

    seen = database["system.profile"].find_one({"ns": f"{DATABASE}.tiles"}, sort=[("$natural", -1)])
    database.drop_collection("system.profile")
    assert seen is not None
    assert seen["docsExamined"] == 0
