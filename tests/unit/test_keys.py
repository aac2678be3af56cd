from hypothesis import given
from hypothesis import strategies as st

from shared.tiles.geometry import Position
from shared.tiles.keys import (
    KEY_LENGTH,
    KeyRange,
    level_range,
    morton,
    split_key,
    square_range,
    tile_key,
    unmorton,
    version_range,
)

images = st.uuids().map(lambda id: id.hex)
versions = st.integers(0, 2**32 - 1)
places = st.integers(0, 2**32 - 1)
positions = st.builds(Position, st.integers(0, 255), places, places)


def inside(key: bytes, keys: KeyRange) -> bool:
    return keys.first <= key <= keys.last


@given(places, places)
def test_a_morton_code_can_be_undone(row: int, col: int) -> None:
    assert unmorton(morton(row, col)) == (row, col)


@given(places, places)
def test_a_morton_code_interleaves_bits(row: int, col: int) -> None:
    expected = sum((row >> bit & 1) << 2 * bit + 1 | (col >> bit & 1) << 2 * bit for bit in range(32))

    assert morton(row, col) == expected


def test_the_first_codes_go_in_a_z() -> None:
    assert [unmorton(code) for code in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]


@given(images, versions, positions)
def test_a_key_can_be_taken_apart(image: str, version: int, position: Position) -> None:
    key = tile_key(image, version, position)

    assert len(key) == KEY_LENGTH == 29
    assert split_key(key) == (image, version, position)


@given(images, st.tuples(versions, positions), st.tuples(versions, positions))
def test_keys_are_in_order_of_version_level_and_morton_code(
    image: str, one: tuple[int, Position], two: tuple[int, Position]
) -> None:
    def place(version: int, position: Position) -> tuple[int, int, int]:
        return version, position.level, morton(position.row, position.col)

    assert (tile_key(image, *one) < tile_key(image, *two)) == (place(*one) < place(*two))


@given(images, images, versions, versions, positions)
def test_a_version_s_range_holds_its_tiles_alone(
    image: str, other: str, version: int, another: int, position: Position
) -> None:
    keys = version_range(image, version)

    assert inside(tile_key(image, version, position), keys)
    assert inside(tile_key(other, another, position), keys) == ((other, another) == (image, version))


@given(images, versions, positions, st.integers(0, 255))
def test_a_level_s_range_holds_its_tiles_alone(image: str, version: int, position: Position, level: int) -> None:
    assert inside(tile_key(image, version, position), level_range(image, version, level)) == (position.level == level)


@given(
    image=images,
    version=versions,
    level=st.integers(0, 255),
    power=st.integers(0, 5),
    corner=st.tuples(st.integers(0, 2**20), st.integers(0, 2**20)),
    data=st.data(),
)
def test_a_square_s_range_holds_its_tiles_alone(
    image: str, version: int, level: int, power: int, corner: tuple[int, int], data: st.DataObject
) -> None:
    side = 1 << power
    top, left = corner[0] * side, corner[1] * side
    # Near its edges is where a wrong range shows.
    row = data.draw(st.integers(max(0, top - 2), top + side + 1))
    col = data.draw(st.integers(max(0, left - 2), left + side + 1))
    keys = square_range(image, version, Position(level, top, left), side)

    within = top <= row < top + side and left <= col < left + side
    assert inside(tile_key(image, version, Position(level, row, col)), keys) == within
    assert inside(tile_key(image, version, Position((level + 1) % 256, top, left)), keys) is False
