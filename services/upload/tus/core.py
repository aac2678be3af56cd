"""What tus requests and answers say in their headers. Pure."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from services.upload.core import Invalid
from services.upload.core.chunks import IN_ORDER_CHUNK, LARGEST_CHUNK, largest_divisor
from shared.store.documents.uploads import Upload

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "termination",
    "expiration",
    "concatenation",
)
ALGORITHMS = {"md5": 16, "sha1": 20, "sha256": 32}
MEDIA = "application/offset+octet-stream"
ADDRESS = "/api/v1/tus/"
MOST_PARTS = 1000
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_KEY = re.compile(r"[!-+\--~]+", re.ASCII)
_PLACE = re.compile(".*" + re.escape(ADDRESS) + "([0-9a-f]{32})")


def number(name: str, text: str) -> int:
    """The number of bytes that the header `name` gives. Raises `Invalid`."""
    if _NUMBER.fullmatch(text.strip()) is None:
        raise Invalid(f"{name} is '{text[:40]}', which is no number of bytes.")
    return int(text)


def metadata(header: str) -> dict[str, str]:
    """Parses Upload-Metadata, `key BASE64,key BASE64`: values as text. Raises `Invalid`."""
    pairs: dict[str, str] = {}
    for member in header.split(",") if header.strip() else ():
        key, _, value = member.strip().partition(" ")
        if _KEY.fullmatch(key) is None:
            raise Invalid(f"Upload-Metadata has '{key[:40]}' where a key of printable ASCII characters should be.")
        if key in pairs:
            raise Invalid(f"Upload-Metadata has the key '{key}' twice.")
        try:
            pairs[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
        except (ValueError, binascii.Error):
            raise Invalid(f"The value of '{key}' in Upload-Metadata is not base64.") from None
    return pairs


class Checksum(NamedTuple):
    """What the bytes of one request must add up to."""

    algorithm: str
    digest: bytes

    def proves(self, pieces: Iterable[bytes | memoryview]) -> bool:
        """Whether these bytes are the ones that were sent."""
        found = hashlib.new(self.algorithm, usedforsecurity=False)
        for piece in pieces:
            found.update(piece)
        return found.digest() == self.digest


def checksum_of(headers: Mapping[str, str]) -> Checksum | None:
    """What a request's Upload-Checksum says, if it has one. Raises `Invalid`."""
    header = headers.get("Upload-Checksum")
    return None if header is None else checksum(header)


def checksum(header: str) -> Checksum:
    """Parses Upload-Checksum, `sha1 BASE64`. Raises `Invalid`."""
    algorithm, _, value = header.strip().partition(" ")
    size = ALGORITHMS.get(algorithm.lower())
    if size is None:
        raise Invalid(f"Upload-Checksum names '{algorithm[:40]}', which is none of {', '.join(ALGORITHMS)}.")
    try:
        digest = base64.b64decode(value.strip(), validate=True)
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != size:
        raise Invalid(f"The value of Upload-Checksum is no {algorithm.lower()} in base64.")
    return Checksum(algorithm.lower(), digest)


def declared_length(headers: Mapping[str, str]) -> int | None:
    """What a new upload says about its length; None if that comes later. Raises `Invalid` unless it says one thing."""
    length, deferred = headers.get("Upload-Length"), headers.get("Upload-Defer-Length")
    if deferred is not None and deferred.strip() != "1":
        raise Invalid(f"Upload-Defer-Length is '{deferred[:40]}', which is not 1.")
    if (length is None) == (deferred is None):
        raise Invalid("A new upload needs either its Upload-Length or 'Upload-Defer-Length: 1'.")
    return number("Upload-Length", length) if length is not None else None


class Concatenation(NamedTuple):
    """Whether a new upload is a part of a file, or made of `parts`."""

    partial: bool = False
    parts: tuple[str, ...] = ()


def concatenation(header: str | None) -> Concatenation:
    """Parses Upload-Concat: `partial`, or `final;` and the addresses of the parts. Raises `Invalid`."""
    if header is None:
        return Concatenation()
    kind, found, addresses = header.strip().partition(";")
    if kind == "partial" and not found:
        return Concatenation(partial=True)
    parts = tuple(_part(address) for address in addresses.split())
    if kind != "final" or not 1 <= len(parts) <= MOST_PARTS:
        raise Invalid(f"Upload-Concat is neither 'partial' nor 'final;' and the addresses of 1 to {MOST_PARTS} parts.")
    return Concatenation(parts=parts)


def _part(address: str) -> str:
    try:
        place = _PLACE.fullmatch(urlsplit(address).path)
    except ValueError:
        place = None
    if place is None:
        raise Invalid(f"Upload-Concat names '{address[:200]}', which is no address of an upload.")
    return place[1]


def location(upload: str) -> str:
    """The address of an upload, relative to the server's: right whatever proxies are in front of it."""
    return ADDRESS + upload


def settled_chunk(first: int | None, total: int | None) -> int:
    """The GridFS chunk size, in bytes, of an upload whose first request brings `first` bytes.

    Requests that are as long as the first are stored as whole chunks if it can be arranged. None is what is unknown.
    """
    if first is None or (total is not None and first >= total):
        return LARGEST_CHUNK
    return largest_divisor(first) or IN_ORDER_CHUNK


def progress(upload: Upload) -> dict[str, str]:
    """The headers that say how far an upload is: those of the answer to HEAD, but for its expiry."""
    said: dict[str, str] = {}
    tus = upload.tus
    if tus is None:
        return said
    if tus.metadata:
        said["Upload-Metadata"] = tus.metadata
    if tus.partial:
        said["Upload-Concat"] = "partial"
    if tus.final:
        said["Upload-Concat"] = "final;" + " ".join(location(part) for part in tus.parts)
    if tus.deferred:
        said["Upload-Defer-Length"] = "1"
    else:
        said["Upload-Length"] = str(upload.total)
    if not tus.final or upload.state in ("verifying", "complete"):
        said["Upload-Offset"] = str(upload.stored)
    return said
