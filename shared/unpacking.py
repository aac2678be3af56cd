"""Where on this host a slide can be opened by a path: a copy of its file or, of a zip, the files that were in it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.blobs import Blobs
from shared.blobs.windows import Windows
from shared.decoding import Decoders
from shared.errors import DecoderDied, Reject, RetryLater
from shared.slides import archive
from shared.store.documents.versions import Source, Version

# Nobody is held up by it meanwhile: it is for a zip that takes for ever.
UNPACK_SECONDS = 60 * 60.0
MOST_DEATHS = 2


@asynccontextmanager
async def opened(version: Version, source: Source, *, blobs: Blobs, decoders: Decoders) -> AsyncIterator[Path]:
    """The path by which OpenSlide or libvips opens the slide, for as long as the context is open."""
    member = source.layout.get("member")
    if member is None:
        async with blobs.local(version.file, source.suffix) as path:
            yield path
    else:
        async with unpacked(version, source.layout["unpacked"], blobs=blobs, decoders=decoders) as folder:
            yield folder / member


@asynccontextmanager
async def unpacked(version: Version, length: int, *, blobs: Blobs, decoders: Decoders) -> AsyncIterator[Path]:
    """A folder with the `length` bytes of the one slide in a zip, unpacked unless they are here.

    By a child aside from those that decode, and on while nobody waits: raises `Postponed` where it takes long,
    `Reject` for what is wrong with the zip, `RetryLater` where the disk is full.
    """

    async def fill(folder: Path) -> None:
        if not await _unpack(folder, version, length, blobs=blobs, decoders=decoders):
            raise RetryLater(f"There is no room to unpack {version.name}: it takes {length:,} bytes of scratch folder.")

    async with blobs.unpacked(version.file, length, fill) as folder:
        yield folder


async def _unpack(folder: Path, version: Version, length: int, *, blobs: Blobs, decoders: Decoders) -> bool:
    """False where the disk is full."""
    death = None
    for _ in range(MOST_DEATHS):
        try:
            return await decoders.call(
                archive.unpack,
                str(folder),
                version.name,
                length,
                reader=Windows(blobs, version.file).read,
                length=version.length,
                seconds=UNPACK_SECONDS,
                writes=length,
                aside=True,
            )
        except DecoderDied as error:
            death = error
            await asyncio.to_thread(_empty, folder)
    raise Reject(
        f"The zip {version.name} could not be unpacked in {MOST_DEATHS} tries ({death}).",
        "Unpack it on your computer and upload the slide with its files instead.",
    ) from death


def _empty(folder: Path) -> None:
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
