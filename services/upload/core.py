"""The gateway's arithmetic and parsing: ranges, chunk sizes, digests, names, cursors. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from urllib.parse import unquote

MIB = 1024 * 1024
SMALLEST_CHUNK = 256 * 1024
LARGEST_CHUNK = 4 * MIB
IN_ORDER_CHUNK = MIB
SNIFFABLE = 512
LONGEST_KEY = 255

DigestName = Literal["md5", "sha256"]
DIGEST_BYTES: Mapping[DigestName, int] = {"md5": 16, "sha256": 32}
_DIGEST_FIELDS: Mapping[str, DigestName] = {"md5": "md5", "sha-256": "sha256"}


class Invalid(ValueError):
    """What a client sent can't be understood; the message says what is wrong, in one sentence."""


class Span(NamedTuple):
    """Bytes from `start` up to `stop`, end exclusive."""

    start: int
    stop: int


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


def largest_divisor(length: int) -> int | None:
    """The largest divisor of `length` from 256 KiB to 4 MiB; None if it has none."""
    # A divisor that large has a partner of at most length / 256 KiB, so walking the partners upwards finds the largest
    # first; past length's square root the divisors themselves are the shorter walk.
    first, last = -(-length // LARGEST_CHUNK), length // SMALLEST_CHUNK
    if last - first <= LARGEST_CHUNK - SMALLEST_CHUNK:
        parts = range(max(first, 1), last + 1)
        return next((length // count for count in parts if length % count == 0), None)
    sizes = range(LARGEST_CHUNK, SMALLEST_CHUNK - 1, -1)
    return next((size for size in sizes if length % size == 0), None)


def chunk_size(first: Span, total: int) -> int:
    """The GridFS chunk size, in bytes, of a file whose first request carries `first`.

    A first range that is the whole file sets no pattern. One without a suitable divisor can only be followed in order.
    """
    if first.stop >= total:
        return LARGEST_CHUNK
    return largest_divisor(first.stop - first.start) or IN_ORDER_CHUNK


def on_grid(span: Span, chunk: int, total: int) -> bool:
    """Whether a range consists of whole chunks, which may come in any order."""
    return span.start % chunk == 0 and (span.stop % chunk == 0 or span.stop == total)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Sorted, with overlapping and touching spans made one."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.start <= result[-1].stop:
            result[-1] = Span(result[-1].start, max(result[-1].stop, span.stop))
        elif span.stop > span.start:
            result.append(span)
    return result


def expected_offset(spans: list[Span]) -> int:
    """Where the unbroken beginning of a file ends; `spans` are joined."""
    return spans[0].stop if spans and spans[0].start == 0 else 0


def held_until(spans: list[Span], start: int) -> int:
    """Where what is stored from `start` on ends: `start` itself if nothing is; `spans` are joined."""
    return next((span.stop for span in spans if span.start <= start < span.stop), start)


def covering(pieces: Iterable[Span], span: Span) -> list[tuple[Span, Span]]:
    """Which part of the span each piece gives, in order, up to the first gap; of pieces that overlap the later one."""
    result: list[tuple[Span, Span]] = []
    ahead, begun = sorted(pieces, reverse=True), list[Span]()
    reached = span.start
    while reached < span.stop:
        while ahead and ahead[-1].start <= reached:
            begun.append(ahead.pop())
        while begun and begun[-1].stop <= reached:
            begun.pop()
        if not begun:
            break
        stop = min(begun[-1].stop, span.stop, ahead[-1].start if ahead else span.stop)
        result.append((begun[-1], Span(reached, stop)))
        reached = stop
    return result


def stored_bytes(spans: list[Span]) -> int:
    """How many bytes joined spans hold."""
    return sum(span.stop - span.start for span in spans)


def digest_hex(name: DigestName, value: str) -> str:
    """A digest given as hex or base64, as lower-case hex. Raises `Invalid`."""
    value = value.strip()
    size = DIGEST_BYTES[name]
    try:
        raw = bytes.fromhex(value) if len(value) == 2 * size else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != size:
        raise Invalid(f"'{value}' is no {name} digest in hex or base64.")
    return raw.hex()


def digest_field(header: str) -> dict[DigestName, str]:
    """Parses a Repr-Digest or Content-Digest header (RFC 9530) to hex; algorithms we do not know are left out."""
    digests: dict[DigestName, str] = {}
    for member in header.split(","):
        algorithm, found, value = member.strip().partition("=")
        name = _DIGEST_FIELDS.get(algorithm.strip().lower())
        if name is None:
            continue
        value = value.strip()
        if not found or len(value) < 2 or value[0] != ":" or value[-1] != ":":
            raise Invalid(f"'{member.strip()}' is no digest of the form sha-256=:BASE64:.")
        digests[name] = digest_hex(name, value[1:-1])
    return digests


_PARAMETER = re.compile(r'(?:^|;)\s*([^\s=;"]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;]*)')
_EXTENDED = re.compile(r"([\w.-]+)'[^']*'(.*)")


def parameters(header: str) -> dict[str, str]:
    """The parameters of a header such as Content-Disposition, by lower-case name; of two the first counts."""
    found: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        plain = re.sub(r'\\(["\\])', r"\1", value[1:-1]) if value.startswith('"') else value.strip()
        found.setdefault(name.lower(), plain)
    return found


def _filename(header: str) -> str | None:
    said = parameters(header)
    extended = _EXTENDED.fullmatch(said.get("filename*", ""))
    if extended is not None:
        try:
            return unquote(extended[2], extended[1], "strict")
        except (LookupError, UnicodeDecodeError):
            pass
    return said.get("filename")


def part_filename(header: str) -> str | None:
    """The file name of a form's part, None for a plain field."""
    name = _filename(header)
    return as_written(name) if name is not None else None


def as_written(name: str) -> str:
    """A name from a form's part: browsers write `"` as %22 and nothing else escaped."""
    return name.replace("%22", '"').replace("%0D", "").replace("%0A", "")


def header_filename(header: str) -> str | None:
    """The file name of a request's own Content-Disposition, where scripts percent-encode whole names."""
    name = _filename(header)
    return unquote(name) if name is not None else None


def idempotency_key(text: str) -> str:
    """A client's key for a first request that it may repeat. Raises `Invalid`."""
    if not text.isascii() or not text.isprintable() or len(text) > LONGEST_KEY:
        raise Invalid(f"The Idempotency-Key is not at most {LONGEST_KEY} printable ASCII characters.")
    return text


_ID = re.compile("[0-9a-f]{32}")


def cursor(created: datetime, id: str) -> str:
    """Where the next page of a list begins: after this item."""
    return base64.urlsafe_b64encode(json.dumps([created.isoformat(), id]).encode()).decode().rstrip("=")


def after(cursor: str) -> tuple[datetime, str]:
    """The reverse of `cursor`. Raises `Invalid`."""
    try:
        created, id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(created)
        if moment.tzinfo is None or _ID.fullmatch(id) is None:
            raise ValueError
        return moment.astimezone(UTC), id
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise Invalid(f"'{cursor}' is no cursor that slidemill gave.") from None
