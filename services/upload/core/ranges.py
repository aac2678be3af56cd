"""Content-Range headers."""

import re
from typing import NamedTuple

from services.upload.core import Invalid
from services.upload.core.spans import Span


class ContentRange(NamedTuple):
    """The part of a file that one request carries. Without bytes it is `span` (0, 0): of `total` 0 an empty file."""

    span: Span
    total: int


_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII | re.IGNORECASE)
_NO_BYTES = re.compile(r"bytes\s+\*/(\d{1,18})", re.ASCII | re.IGNORECASE)


def content_range(header: str) -> ContentRange:
    """Parses `bytes 0-499/1234` (ends inclusive) or, without bytes, `bytes */1234`. Raises `Invalid`."""
    header = header.strip()
    if (none := _NO_BYTES.fullmatch(header)) is not None:
        return ContentRange(Span(0, 0), int(none[1]))
    match = _RANGE.fullmatch(header)
    if match is None:
        raise Invalid(f"Content-Range is '{header}', which is not of the form 'bytes 0-499/1234'.")
    first, last, total = (int(number) for number in match.groups())
    if last < first:
        raise Invalid(f"Content-Range is '{header}', which ends before it begins.")
    if last >= total:
        raise Invalid(f"Content-Range is '{header}', which goes beyond the file's {total} bytes.")
    return ContentRange(Span(first, last + 1), total)
