"""Forms are read the same however their bytes are cut on the way."""

import asyncio
import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.upload.core import Invalid
from services.upload.form import FormReader, boundary_of


def read(body: bytes, cuts: list[int], boundary: bytes = b"B") -> list[tuple[Mapping[str, str], bytes]]:
    """Headers and content of each part."""
    ends = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    pieces = [body[start:stop] for start, stop in itertools.pairwise(ends)]

    async def more() -> bytes:
        return pieces.pop(0) if pieces else b""

    async def parts() -> list[tuple[Mapping[str, str], bytes]]:
        reader, found = FormReader(more, boundary), []
        while (headers := await reader.next_part()) is not None:
            content = b""
            while piece := await reader.content():
                content += piece
            found.append((headers, content))
        return found

    return asyncio.run(parts())


# Contents that look like boundaries without being any.
CONTENT = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n-", b"\r\n--", b"--B", b"-", b"x", b"\r\r\n--", b"\r\n--C"]),
    max_size=8,
).map(b"".join)
CONTENT = CONTENT.filter(lambda content: b"\r\n--B" not in content)


@given(
    contents=st.lists(CONTENT, max_size=4),
    cuts=st.lists(st.integers(0, 500), max_size=12),
    preamble=st.sampled_from([b"", b"This is a form.\r\n"]),
    ending=st.sampled_from([b"", b"\r\n", b"\r\nepilogue"]),
)
def test_parts_come_whole_and_in_order(contents: list[bytes], cuts: list[int], preamble: bytes, ending: bytes) -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="f"\r\n\r\n'
    body = preamble + b"".join(head + content + b"\r\n" for content in contents) + b"--B--" + ending

    found = read(body, cuts)

    assert [content for _, content in found] == contents
    assert all(headers == {"content-disposition": 'form-data; name="f"'} for headers, _ in found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--B",
        b"--B\r\n",
        b"--B\r\n\r\ncontent",
        b"--B\r\n\r\ncontent\r\n--B",
        b"--Bx\r\n\r\ncontent\r\n--B--",
        b"--B\r\nno colon\r\n\r\n\r\n--B--",
        b"--B\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n\r\n--B--",
        b"--B\r\nContent-Transfer-Encoding: base64\r\n\r\nSUkqAA==\r\n--B--",
        b"--B\r\nlong: " + b"x" * 20_000,
        b"--B--" + b"x" * 70_000,
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        read(body, [])


@pytest.mark.parametrize("header", ["multipart/form-data", "multipart/form-data; boundary=", f"x; boundary={'b' * 71}"])
def test_a_form_must_name_its_boundary(header: str) -> None:
    with pytest.raises(Invalid):
        boundary_of(header)


def test_a_boundary_may_be_quoted() -> None:
    assert boundary_of('multipart/form-data; boundary="a b;c"') == b"a b;c"
