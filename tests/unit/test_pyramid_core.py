"""How the levels above the base are divided into blocks, and what a whole pyramid holds."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.pyramid.core import (
    THUMBNAIL_SIDE,
    feeding,
    holes,
    plan,
    round_of,
    sparse_counts,
    thumbnail_level,
)
from shared.store.documents.blocks import Block, BlockId
from shared.store.documents.versions import Version, VersionId
from shared.tiles.geometry import Geometry, Position, Rect
from shared.tiles.sparse import pack, sparse_per_level, unpack
from shared.tiles.squares import folded_levels, folded_tiles, rounds

NOW = datetime(2026, 1, 2, tzinfo=UTC)
geometries = st.builds(
    Geometry,
    width=st.integers(1, 200_000),
    height=st.integers(1, 60_000),
    tile=st.sampled_from([240, 256, 512, 1024]),
)
small_geometries = st.builds(Geometry, width=st.integers(1, 9000), height=st.integers(1, 9000), tile=st.just(256))


# By how many levels the dicer folds what it cuts.
climbs = st.sampled_from([None, 2, 3, 4, 5])


def version(climb: int | None = None) -> Version:
    id = VersionId(image="0" * 32, n=1)
    return Version(id=id, session="s", file="f", name="a.svs", created=NOW, updated=NOW, climb=climb)


@given(geometries, climbs)
def test_the_blocks_together_fill_every_level_above_the_base_once(geometry: Geometry, climb: int | None) -> None:
    blocks = plan(version(climb), geometry, NOW)
    turns = rounds(geometry, climb)

    filled = dict.fromkeys(range(1, geometry.levels), 0)
    for block in blocks:
        top, left, bottom, right = block.rect.top, block.rect.left, block.rect.bottom, block.rect.right
        for level in folded_levels(geometry, block.rect, turns[block.round].climb):
            top, left, bottom, right = top // 2, left // 2, (bottom + 1) // 2, (right + 1) // 2
            filled[level] += (bottom - top) * (right - left)

    assert filled == {level: geometry.tiles(level) for level in range(1, geometry.levels)}
    assert sum(block.tiles for block in blocks) == sum(filled.values())


@given(geometries, climbs)
def test_each_block_past_the_first_round_is_fed_by_the_blocks_below_its_square(
    geometry: Geometry, climb: int | None
) -> None:
    blocks = {block.id: block for block in plan(version(climb), geometry, NOW)}
    turns = rounds(geometry, climb)

    for block in blocks.values():
        if block.round == 0:
            continue
        for position, id in feeding(geometry, climb, block):
            below = blocks[id]
            assert below.round == block.round - 1
            step = turns[below.round].climb
            assert (below.rect.top >> step, below.rect.left >> step) == position[1:]


@given(geometries, climbs)
def test_the_round_of_a_block_follows_from_its_number(geometry: Geometry, climb: int | None) -> None:
    for block in plan(version(climb), geometry, NOW):
        assert round_of(geometry, climb, block.id.n) == block.round


def test_a_slide_of_one_tile_needs_no_folding() -> None:
    assert plan(version(), Geometry(width=1, height=1, tile=256), NOW) == []
    assert (
        folded_tiles(Geometry(width=257, height=1, tile=256), Rect(level=0, top=0, left=0, bottom=1, right=2), 4) == 1
    )


@given(small_geometries, st.data())
def test_a_folded_tile_is_sparse_exactly_where_everything_below_it_is(geometry: Geometry, data: st.DataObject) -> None:
    cols, rows = geometry.grid(0)
    everywhere = [Position(0, row, col) for row in range(rows) for col in range(cols)]
    missing = set(data.draw(st.lists(st.sampled_from(everywhere), max_size=len(everywhere))))
    rect = Rect(level=0, top=0, left=0, bottom=rows, right=cols)

    assert unpack(rect, pack(rect, missing)) == missing
    present = {(position.row, position.col) for position in everywhere} - {(p.row, p.col) for p in missing}
    expected = []
    for level in range(geometry.levels):
        expected.append(geometry.tiles(level) - len(present))
        present = {(row >> 1, col >> 1) for row, col in present}
    assert sparse_per_level(geometry, missing) == expected


def test_a_level_that_misses_a_tile_is_named() -> None:
    geometry = Geometry(width=1000, height=500, tile=256)
    rect = Rect(level=0, top=0, left=0, bottom=2, right=4)
    block = Block(
        id=BlockId(image="0" * 32, version=1, stage="dice", n=0),
        rect=rect,
        tiles=8,
        issued=NOW,
        sparse=pack(rect, {Position(0, 1, 3)}),
    )
    sparse = sparse_counts(geometry, [block])

    assert sparse == [1, 0, 0]
    assert holes(geometry, [7, 2, 1], sparse) == []
    assert holes(geometry, [6, 2, 1], sparse) == ["level 0 has 6 tiles and 1 sparse ones of 8"]


@given(geometries)
def test_the_thumbnail_is_made_from_the_smallest_level_that_is_large_enough(geometry: Geometry) -> None:
    level = thumbnail_level(geometry)

    assert level == 0 or max(geometry.size(level)) >= THUMBNAIL_SIDE
    assert level == geometry.levels - 1 or max(geometry.size(level + 1)) < THUMBNAIL_SIDE
