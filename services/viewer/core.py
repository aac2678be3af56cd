"""What the viewer says, as values: which version is shown, Deep Zoom's description, addresses and validators. Pure."""

import hashlib
from dataclasses import dataclass

from shared.store.documents import Image, Version
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


def shown(image: Image, version: Version | None) -> Shown | Hidden:
    """What of this version can be shown: something as soon as its size is known, unless it failed."""
    if version is None:
        return Hidden(
            f"{image.name} has no such version any more.", "Leave out the version, or use that of a fresh image.dzi."
        )
    if version.failure is not None:
        return Hidden(f"{image.name} can't be seen because it failed: {version.failure.reason}", version.failure.remedy)
    if version.geometry is None:
        return Hidden(f"{image.name} can't be seen yet: none of its tiles is cut.", "Look again in a few seconds.")
    return Shown(image, version, version.geometry)


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
