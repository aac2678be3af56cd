"""`python -m tests.bench.split SLIDE`: what the processor does for a slide whose tiles are copied, step by step.

Everything runs in this process, without servers, children or network: what is left out of the sums is what
`make bench` shows for the database, the broker and the way to them.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from services.dicer import core, cutting, headers, planning
from services.dicer.folding import Turns
from services.pyramid import core as fold_core
from shared.blobs import Blobs
from shared.decoding import Decoders
from shared.store.documents.uploads import Wish
from shared.store.documents.versions import Version, VersionId
from shared.tiles import Tile, Tiles, pixels
from shared.tiles.geometry import Position
from shared.tiles.keys import split_key
from shared.tiles.squares import steps

PIECE = 4 * 2**20


class Clock:
    """Seconds of processor time by step; a step inside another one counts for itself only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Counts what is done inside."""
        start = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = time.process_time() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner.pop()
            self._inner[-1] += spent

    def watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted as a step."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return function(*args, **kwargs)

        return call


class _File:
    """The file store's part that copying uses, on a local file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def stream(self, file: str, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        with self._path.open("rb") as source:
            source.seek(offset)
            while length > 0 and (piece := source.read(min(PIECE, length))):
                length -= len(piece)
                yield piece


class _Kept:
    """A tile store that only keeps what it is given."""

    def __init__(self) -> None:
        self.tiles: dict[Position, bytes] = {}

    async def put(self, tiles: Sequence[Tile]) -> None:
        self.tiles.update({split_key(tile.key)[2]: tile.data for tile in tiles})


class _Inline:
    """Decoder children's work, done here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def stream(self, function: Callable[..., Any], *args: Any, inputs: Any, seconds: float) -> Any:
        with self._clock.step("put tiles together"):
            batch = list(function(*args, inputs=[memoryview(data) for data in inputs]))
        yield batch


def measure(slide: Path, quality: int) -> dict[str, float]:
    """Seconds of processor time by step."""
    clock = Clock()
    length = slide.stat().st_size
    with clock.step("read the header"), slide.open("rb") as source:
        found = headers.find_in_tiff(length, slide.name, source=source)
    if found.base != "copied":
        raise SystemExit(f"{slide.name} is not copied: {found.reason}.")
    now = datetime.now(UTC)
    version = Version.model_validate(
        {
            "_id": VersionId(image="0" * 32, n=1),
            "session": "",
            "file": "",
            "name": slide.name,
            "created": now,
            "updated": now,
            "source": found.source,
            "geometry": found.geometry,
            "recipe": core.recipe(Wish(), quality, "420", found.tile),
            "climb": planning.climb(found, planning.COPIED_BYTES),
        }
    )
    with clock.step("plan"):
        blocks = planning.plan(version, found, version.climb, now, planning.COPIED_BYTES)
    kept = _Kept()
    for name, step in (("_decode_half", "decode at half scale"), ("encode", "encode"), ("halve", "box means")):
        setattr(pixels, name, clock.watched(step, getattr(pixels, name)))
    with clock.step("slice and assemble base tiles"):
        asyncio.run(_cut(blocks, version, slide, kept, clock))
    if version.climb is None:
        _fold(version, kept.tiles, clock)
    return clock.seconds


async def _cut(blocks: Sequence[Any], version: Version, slide: Path, kept: _Kept, clock: Clock) -> None:
    for block in blocks:
        await cutting.cut(
            block,
            version,
            blobs=cast(Blobs, _File(slide)),
            tiles=cast(Tiles, kept),
            decoders=cast(Decoders, _Inline(clock)),
            turns=Turns(1),
        )


def _fold(version: Version, tiles: dict[Position, bytes], clock: Clock) -> None:
    geometry, recipe = version.geometry, version.recipe
    if geometry is None or recipe is None:
        raise RuntimeError("the version was made without a geometry")
    climb = steps(geometry)
    for block in fold_core.plan(version, geometry, version.created):
        if block.round > 0:
            continue
        there = [position for position in block.rect.positions() if position in tiles]
        with clock.step("put tiles together"):
            inputs = [memoryview(tiles[position]) for position in there]
            for _ in pixels.fold(block.rect, there, geometry, recipe, climb, False, inputs=inputs):
                pass


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--quality", type=int, default=80)
    options = parser.parse_args()
    seconds = measure(options.slide, options.quality)
    for name, spent in seconds.items():
        print(f"{name:32} {spent:6.2f} s")
    print(f"{'together':32} {sum(seconds.values()):6.2f} s")


if __name__ == "__main__":
    main()
