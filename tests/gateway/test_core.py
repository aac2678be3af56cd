"""The gateway's arithmetic and parsing."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.core import Invalid
from services.upload.core.chunks import IN_ORDER_CHUNK, LARGEST_CHUNK, SMALLEST_CHUNK, chunk_size, largest_divisor
from services.upload.core.cursors import after, cursor
from services.upload.core.digests import digest_field, digest_hex
from services.upload.core.disposition import header_filename, part_filename
from services.upload.core.ranges import ContentRange, content_range
from services.upload.core.spans import Span, covering, expected_offset, joined, stored_bytes

MIB = 1024 * 1024


def test_a_range_header_becomes_offsets_with_an_exclusive_end() -> None:
    assert content_range("bytes 0-499/1234") == ContentRange(Span(0, 500), 1234)
    assert content_range("bytes */0") == ContentRange(Span(0, 0), 0)
    assert content_range("bytes */7") == ContentRange(Span(0, 0), 7)


@pytest.mark.parametrize(
    "header", ["", "bytes", "bytes 5-4/10", "bytes 0-10/10", "bytes 0-9/*", "items 0-9/10", "bytes */x", "bytes -1-2/3"]
)
def test_a_wrong_range_header_is_refused_and_quoted(header: str) -> None:
    with pytest.raises(Invalid) as refused:
        content_range(header)

    assert f"'{header}'" in str(refused.value)


@given(st.integers(min_value=1, max_value=1 << 40))
def test_the_chunk_size_is_the_largest_divisor_within_its_bounds(length: int) -> None:
    size = largest_divisor(length)

    if size is None:
        # Cheaper than trying them all: a divisor in the bounds would have a partner length / divisor.
        partners = range(max(1, -(-length // LARGEST_CHUNK)), min(length // SMALLEST_CHUNK, 100_000) + 1)
        assert not any(length % count == 0 for count in partners)
    else:
        assert length % size == 0
        assert SMALLEST_CHUNK <= size <= LARGEST_CHUNK
        first = -(-length // LARGEST_CHUNK)
        assert not any(length % count == 0 for count in range(first, min(length // size, first + 100_000)))


@pytest.mark.parametrize(
    ("length", "size"),
    [
        (4 * MIB, 4 * MIB),
        (10_000_000, 2_500_000),
        (256 * 1024, 256 * 1024),
        (100_000, None),
        (5 * MIB, 5 * MIB // 2),
        (4_194_319, None),
        (2 * 262_147, 2 * 262_147),
    ],
)
def test_known_first_ranges_give_known_chunk_sizes(length: int, size: int | None) -> None:
    assert largest_divisor(length) == size


def test_a_first_range_that_is_the_whole_file_sets_no_pattern() -> None:
    assert chunk_size(Span(0, 1000), 1000) == LARGEST_CHUNK
    assert chunk_size(Span(0, 1000), 9000) == IN_ORDER_CHUNK


@given(st.lists(st.builds(lambda start, length: Span(start, start + length), st.integers(0, 20), st.integers(1, 9))))
def test_pieces_cover_a_span_up_to_its_first_gap_the_later_ones_first(pieces: list[Span]) -> None:
    parts = covering(pieces, Span(3, 19))

    def newest(byte: int) -> int | None:
        return max((piece.start for piece in pieces if byte in range(*piece)), default=None)

    expected = list(itertools.takewhile(lambda byte: newest(byte) is not None, range(3, 19)))
    assert [byte for _, part in parts for byte in range(*part)] == expected
    assert [piece.start for piece, part in parts for _ in range(*part)] == [newest(byte) for byte in expected]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: Span(min(pair), max(pair)))))
def test_joined_spans_hold_the_same_bytes_once_and_apart(spans: list[Span]) -> None:
    together = joined(spans)

    held = {byte for span in spans for byte in range(span.start, span.stop)}
    assert {byte for span in together for byte in range(span.start, span.stop)} == held
    assert stored_bytes(together) == len(held)
    assert all(left.stop < right.start for left, right in itertools.pairwise(together))
    assert expected_offset(together) == next(byte for byte in range(62) if byte not in held)


def test_digests_are_taken_in_hex_and_in_base64() -> None:
    empty = "d41d8cd98f00b204e9800998ecf8427e"

    assert digest_hex("md5", empty.upper()) == empty
    assert digest_hex("md5", "1B2M2Y8AsgTpgAmY7PhCfg==") == empty
    assert digest_field("sha-512=:AAAA:, md5=:1B2M2Y8AsgTpgAmY7PhCfg==:") == {"md5": empty}


@pytest.mark.parametrize("value", ["", "abc", "zz" * 16, "AAAA"])
def test_what_is_no_digest_is_refused(value: str) -> None:
    with pytest.raises(Invalid):
        digest_hex("md5", value)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('form-data; name="files[]"; filename="Präparat 7; links.svs"', "Präparat 7; links.svs"),
        ('form-data; name="f"; filename="say %22hi%22.svs"', 'say "hi".svs'),
        ('form-data; name="f"; filename="100%25 sure.svs"', "100%25 sure.svs"),
        ('form-data; name="title"', None),
        ('form-data; name="a; filename=b"', None),
        ('form-data; name="a"; filename="C:\\fakepath\\say \\"hi\\".svs"', 'C:\\fakepath\\say "hi".svs'),
    ],
)
def test_a_parts_file_name_comes_as_the_browser_wrote_it(header: str, name: str | None) -> None:
    assert part_filename(header) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="Pr%C3%A4parat%207.svs"', "Präparat 7.svs"),
        ("attachment; filename*=UTF-8''Pr%C3%A4parat%207.svs; filename=\"x.svs\"", "Präparat 7.svs"),
        ("attachment; filename=plain.svs", "plain.svs"),
    ],
)
def test_a_requests_own_file_name_is_percent_decoded(header: str, name: str) -> None:
    assert header_filename(header) == name


def test_a_cursor_leads_back_to_where_it_was_made() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)

    assert after(cursor(moment, "ab" * 16)) == (moment, "ab" * 16)


@pytest.mark.parametrize("made_up", ["x", "AAAA", "WyJ4IiwgMV0", "é", "WyIyMDI2LTAxLTAyIiwgImEiXQ", "W1tb" * 1500])
def test_a_made_up_cursor_is_refused(made_up: str) -> None:
    with pytest.raises(Invalid):
        after(made_up)
