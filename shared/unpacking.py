"""Where on this host a slide can be opened by a path: a copy of its file or, of a zip, the files that were in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from shared.blobs import Blobs
from shared.blobs.windows import Windows
from shared.decoding import Decoders
from shared.errors import RetryLater
from shared.slides import archive
from shared.store.documents import Source, Version

# With the 20 minutes that a block may then take, under the broker's 30 minutes for one delivery.
UNPACK_SECONDS = 9 * 60.0


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
    """A folder with the `length` bytes of the one slide in a zip, unpacked by a decoder child unless they are here.

    Raises `Reject` for what is wrong with the zip, `RetryLater` where it takes too long or the disk is full,
    `DecoderDied` where the child did not survive it.
    """

    async def fill(folder: Path) -> None:
        done = await decoders.call(
            archive.unpack,
            str(folder),
            version.name,
            length,
            reader=Windows(blobs, version.file).read,
            length=version.length,
            seconds=UNPACK_SECONDS,
            writes=length,
        )
        if not done:
            raise RetryLater(f"There is no room to unpack {version.name}: it takes {length:,} bytes of scratch folder.")

    async with AsyncExitStack() as held:
        try:
            # Whoever waits for another one to unpack it waits no longer either.
            async with asyncio.timeout(UNPACK_SECONDS):
                folder = await held.enter_async_context(blobs.unpacked(version.file, length, fill))
        except TimeoutError as error:
            raise RetryLater(f"{version.name} took longer than {UNPACK_SECONDS:g} s to unpack.") from error
        yield folder
