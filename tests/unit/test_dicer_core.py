"""How the base level is divided into blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dicer.core import (
    Extent,
    Found,
    extents_of,
    interior,
    pack_extents,
    reads,
    unpack_extents,
)
from services.dicer.pieces import Pieces
from services.dicer.planning import climb, copied_rects, span_rects, square_rects, whole_rect
from shared.tiles.geometry import Geometry, Position, Rect

sizes = st.integers(1, 5000)
tiles = st.sampled_from([128, 240, 256, 512])


@st.composite
def sliced_slides(draw: st.DrawFn) -> tuple[Geometry, list[int]]:
    geometry = Geometry(width=draw(sizes), height=draw(sizes), tile=draw(tiles))
    count = geometry.tiles(0)
    return geometry, draw(st.lists(st.integers(0, 300), min_size=count, max_size=count))


def covered_once(geometry: Geometry, rects: list[Rect]) -> bool:
    positions = [position for rect in rects for position in rect.positions()]
    cols, rows = geometry.grid(0)
    return sorted(positions) == sorted(Position(0, row, col) for row in range(rows) for col in range(cols))


@given(sliced_slides(), st.integers(1, 20_000))
def test_copied_blocks_cover_every_tile_once(slide: tuple[Geometry, list[int]], target: int) -> None:
    geometry, lengths = slide

    assert covered_once(geometry, copied_rects(geometry, lengths, target))


def test_rows_that_hold_nothing_belong_to_a_block_too() -> None:
    geometry = Geometry(width=513, height=1025, tile=512)

    assert covered_once(geometry, copied_rects(geometry, [0, 0, 0, 0, 0, 3], 1))


@given(sliced_slides(), st.integers(1000, 20_000))
def test_no_copied_block_is_much_larger_than_its_target(slide: tuple[Geometry, list[int]], target: int) -> None:
    geometry, lengths = slide
    cols = geometry.grid(0)[0]

    for rect in copied_rects(geometry, lengths, target):
        held = sum(lengths[p.row * cols + p.col] for p in rect.positions())
        assert held <= 2 * target


@given(sizes, sizes, tiles, st.integers(0, 6))
def test_square_blocks_cover_every_tile_once(width: int, height: int, tile: int, climb: int) -> None:
    geometry = Geometry(width=width, height=height, tile=tile)

    assert covered_once(geometry, square_rects(geometry, climb))
    assert covered_once(geometry, [whole_rect(geometry)])


@given(sliced_slides(), st.integers(1, 5), st.integers(1, 20_000))
def test_spans_are_made_of_whole_squares_and_cover_every_tile_once(
    slide: tuple[Geometry, list[int]], climb: int, target: int
) -> None:
    geometry, lengths = slide
    cols, rows = geometry.grid(0)
    side = 1 << climb

    rects = span_rects(geometry, lengths, climb, target)

    assert covered_once(geometry, rects)
    for rect in rects:
        assert rect.top % side == rect.left % side == 0
        assert rect.bottom in (rect.top + side, rows)
        assert rect.right % side == 0 or rect.right == cols
        held = sum(lengths[p.row * cols + p.col] for p in rect.positions())
        assert held <= target or rect.right - rect.left <= side


@pytest.mark.parametrize(
    ("height", "tile_bytes", "block_bytes", "expected"),
    [
        (16_500, 6_000, 2**25, 4),  # strips of 4096 pixels fit
        (8_000, 6_000, 2**25, 3),  # but would be fewer than four
        (16_500, 40_000, 2**25, 3),  # or too large
        (16_500, 200_000, 2**25, 3),  # strips of 2048 pixels too: they are cut in spans
        (16_500, 2**20, 2**25, None),  # one square alone is
    ],
)
def test_a_copied_slide_is_folded_in_the_largest_squares_whose_strips_fit(
    height: int, tile_bytes: int, block_bytes: int, expected: int | None
) -> None:
    geometry = Geometry(width=23_000, height=height, tile=256)
    lengths = [tile_bytes] * geometry.tiles(0)
    found = Found("tiff-tiles", ".svs", 23_000, height, 256, offsets=lengths, lengths=lengths)

    assert climb(found, block_bytes) == expected


@pytest.mark.parametrize(("tile_bytes", "expected"), [(40_000, 3), (2**20, 2), (2**23, 1), (2**24, None)])
def test_tiles_that_are_decoded_are_folded_in_squares_that_fit(tile_bytes: int, expected: int | None) -> None:
    geometry = Geometry(width=23_000, height=16_500, tile=256)
    lengths = [tile_bytes] * geometry.tiles(0)
    found = Found("tiff-jpeg2000", ".svs", 23_000, 16_500, 256, offsets=lengths, lengths=lengths)

    assert climb(found, 2**25) == expected


@pytest.mark.parametrize(
    ("tile_bytes", "expected"), [(6_000, 4), (40_000, 3), (100_000, 2), (196_608, 2), (2**25, None)]
)
def test_large_tiles_without_loss_are_folded_in_lower_strips_that_are_read_as_they_lie(
    tile_bytes: int, expected: int | None
) -> None:
    geometry = Geometry(width=23_000, height=16_500, tile=256)
    lengths = [tile_bytes] * geometry.tiles(0)
    found = Found("tiff-lossless", ".tif", 23_000, 16_500, 256, offsets=lengths, lengths=lengths)

    assert climb(found, 2**25) == expected


@given(st.lists(st.tuples(st.integers(0, 2**60), st.integers(0, 2**32))))
def test_extents_survive_packing(pairs: list[tuple[int, int]]) -> None:
    extents = [Extent(*pair) for pair in pairs]

    offsets, lengths = [offset for offset, _ in pairs], [length for _, length in pairs]
    assert unpack_extents(pack_extents(offsets, lengths)) == extents


@given(st.data(), st.integers(1, 12), st.integers(1, 12))
def test_reads_fetch_every_present_tile_once_and_in_file_order(data: st.DataObject, rows: int, cols: int) -> None:
    rect = Rect(level=0, top=0, left=0, bottom=rows, right=cols)
    offsets = data.draw(st.lists(st.integers(0, 10**7), min_size=rows * cols, max_size=rows * cols))
    lengths = data.draw(st.lists(st.integers(0, 60_000), min_size=rows * cols, max_size=rows * cols))
    extents = unpack_extents(extents_of(rect, cols, offsets, lengths))

    plan = reads(rect, extents, gap=1000)

    fetched = [pair for read in plan for pair in read.tiles]
    assert sorted(fetched) == sorted(pair for pair in zip(rect.positions(), extents, strict=True) if pair[1].length)
    assert [read.offset for read in plan] == sorted(read.offset for read in plan)
    for read in plan:
        for _, extent in read.tiles:
            assert read.offset <= extent.offset
            assert extent.offset + extent.length <= read.offset + read.length


@given(st.data(), st.binary(min_size=1, max_size=300), st.integers(0, 50))
def test_ranges_come_whole_out_of_any_pieces(data: st.DataObject, content: bytes, start: int) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(content)))) | {len(content)})
    offsets = sorted(data.draw(st.lists(st.integers(0, len(content) - 1), max_size=20)))
    ranges = [(offset, data.draw(st.integers(0, len(content) - offset))) for offset in offsets]
    pieces = Pieces(start)
    held = 0

    for offset, length in ranges:
        while pieces.end < start + offset + max(length, 1):
            cut = cuts.pop(0)
            pieces.add(content[held:cut])
            held = cut
        assert pieces.take(start + offset, length) == content[offset : offset + length]


def test_only_tiles_that_lie_whole_inside_are_interior() -> None:
    geometry = Geometry(width=600, height=512, tile=256)

    assert interior(geometry) == (2, 2)
