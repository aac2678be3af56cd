"""What the viewer says, as values: which version is shown, Deep Zoom's description, addresses, headers. Pure."""

import base64
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote

from shared.names import visible
from shared.store.documents.images import Image
from shared.store.documents.versions import Version
from shared.tiles.geometry import Geometry, Position

PINNED = "private, max-age=31536000, immutable"
REVALIDATED = "private, no-cache"


@dataclass(frozen=True)
class Stored:
    """A Deep Zoom tile that is stored as it is, at this position."""

    position: Position


@dataclass(frozen=True)
class Below:
    """A Deep Zoom tile below the last stored level: that level's only tile, halved `halvings` times."""

    halvings: int


@dataclass(frozen=True)
class Shown:
    """A version that can be shown, as far as it is built."""

    image: Image
    version: Version
    geometry: Geometry

    @property
    def building(self) -> bool:
        """Whether tiles are still to come."""
        return self.version.state in ("dicing", "folding", "finishing")


@dataclass(frozen=True)
class Hidden:
    """Why nothing can be seen, and what to do: one sentence each."""

    reason: str
    remedy: str


def version_number(image: Image, asked: int | None) -> int:
    """The version to show: the one asked for, else the current one, else the latest, which may be half built."""
    return asked or image.current or image.latest


def no_version(image: Image) -> Hidden:
    """What is said of a version that is not there; one that a newer one replaced goes after a while."""
    return Hidden(f"{image.name} has no such version any more.", "Leave out the version, or reload the page.")


def shown(image: Image, version: Version | None) -> Shown | Hidden:
    """What of this version can be shown: something as soon as its size is known, unless it failed."""
    if version is None:
        return no_version(image)
    if version.failure is not None:
        return Hidden(f"{image.name} can't be seen because it failed: {version.failure.reason}", version.failure.remedy)
    if version.geometry is None:
        return Hidden(f"{image.name} can't be seen yet: none of its tiles is cut.", "Look again in a few seconds.")
    return Shown(image, version, version.geometry)


def stored(image: Image, version: Version | None) -> Version | Hidden:
    """The version if its file arrived whole, whatever became of it afterwards."""
    if version is None:
        return no_version(image)
    if version.stages.upload.ended is not None:
        return version
    if version.failure is not None:
        return Hidden(f"{image.name} never arrived whole: {version.failure.reason}", version.failure.remedy)
    return Hidden(f"{image.name} has not arrived whole yet.", "Ask again when its upload is done.")


def description(geometry: Geometry) -> str:
    """The Deep Zoom XML of a slide."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" TileSize="{geometry.tile}" Overlap="0"'
        f' Format="jpeg"><Size Width="{geometry.width}" Height="{geometry.height}"/></Image>\n'
    )


def locate(geometry: Geometry, level: int, col: int, row: int) -> Stored | Below | None:
    """Where the Deep Zoom tile (level, col, row) comes from; None outside the grid."""
    ours = geometry.from_dzi(level)
    last = geometry.levels - 1
    if last < ours <= geometry.dzi_levels:
        return Below(ours - last) if (col, row) == (0, 0) else None
    position = Position(ours, row, col)
    return Stored(position) if geometry.contains(position) else None


def digest(data: bytes) -> str:
    """A validator for bytes that may be made anew within one version, such as a thumbnail."""
    return hashlib.sha256(data).hexdigest()[:32]


class Unsatisfiable(ValueError):
    """A range of which the file has no byte; the message says so in one sentence."""


_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,40})[ \t]*-[ \t]*([0-9]{0,40})", re.IGNORECASE)


def byte_range(header: str, length: int) -> range | None:
    """The bytes that a Range header asks for (RFC 9110, 14.1); None where it is to be ignored.

    That is what is no range at all, counts in other units, or asks for several. Raises `Unsatisfiable`.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        asked = range(max(0, length - int(last)), length)
    elif last and int(last) < int(first):
        return None
    else:
        asked = range(int(first), min(int(last) + 1, length) if last else length)
    if not asked:
        raise Unsatisfiable(f"The file has {length} bytes and none of those that the range {header.strip()} names.")
    return asked


def attachment(name: str) -> str:
    """A Content-Disposition that saves a file under its own name (RFC 6266), in ASCII for those who know no better."""
    shown = visible(name)
    plain = re.sub(r"[^ !#$&-\[\]-~]", "_", shown)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='!#$&+-.^_`|~')}"


def repr_digest(sha256: str) -> str:
    """A Repr-Digest (RFC 9530) of a SHA-256 in hex."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
