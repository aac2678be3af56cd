"""Finishing: proves that the pyramid has no hole, then makes the small pictures that lists and panels show."""

from datetime import timedelta

import structlog

from services.pyramid import core, pixels
from shared.blobs import Blobs
from shared.decoding import Decoders
from shared.errors import DecoderDied, Postponed, Reject, RetryLater
from shared.store import Store
from shared.store.documents.images import Thumbnail
from shared.store.documents.versions import Source, Version
from shared.tiles import Tiles
from shared.tiles.geometry import Geometry
from shared.tiles.keys import level_range, split_key
from shared.unpacking import opened

PICTURE_SECONDS = 60.0
# Room in the scratch folder mostly comes by itself, when other slides are done with theirs.
ROOM_PATIENCE = timedelta(minutes=10)

log = structlog.get_logger()


async def sparse_tiles(version: Version, geometry: Geometry, *, store: Store) -> list[int]:
    """How many positions of each level rightly have no tile, as the dice blocks recorded it."""
    return core.sparse_counts(geometry, [block async for block in store.blocks.each(_dice_blocks(version))])


def _dice_blocks(version: Version) -> dict[str, object]:
    return {"_id.image": version.id.image, "_id.version": version.id.n, "_id.stage": "dice"}


async def prove_whole(version: Version, geometry: Geometry, *, store: Store, tiles: Tiles) -> None:
    """Counts every level's tiles in the tile store. Raises `Reject` where one has a hole.

    The blocks that say which positions rightly have no tile are gone once a version was ready: when it is finished
    again, the sum that the version kept of them is what can be proven.
    """
    stored = [await tiles.count(level_range(version.id.image, version.id.n, level)) for level in range(geometry.levels)]
    if await store.blocks.count(_dice_blocks(version), limit=1):
        holes = core.holes(geometry, stored, await sparse_tiles(version, geometry, store=store))
    else:
        missing = geometry.total - sum(stored) - version.sparse
        holes = [f"{missing} tiles are missing"] if missing else []
    if holes:
        raise Reject(
            f"The pyramid of {version.name} is not whole: {'; '.join(holes)}.",
            "This is a fault of slidemill, not of the slide: ask the operator to process it again.",
        )


async def make_pictures(
    version: Version,
    geometry: Geometry,
    source: Source,
    *,
    store: Store,
    blobs: Blobs,
    tiles: Tiles,
    decoders: Decoders,
    patient: bool,
) -> None:
    """Stores the thumbnail, and label and macro image where the slide has them.

    Where the scratch folder has no room to open the slide for those it raises `Postponed`, or if not `patient` leaves
    them out: they can be made later, and nobody should wait for the slide itself.
    """
    level = core.thumbnail_level(geometry)
    keys = level_range(version.id.image, version.id.n, level)
    below = [(split_key(tile.key)[2], tile.data) async for tile in tiles.scan(keys)]
    picture = await decoders.call(
        pixels.thumbnail,
        level,
        [position for position, _ in below],
        geometry,
        inputs=[data for _, data in below],
        seconds=PICTURE_SECONDS,
    )
    await _keep(version, "thumbnail", picture, store)
    for kind in ("label", "macro"):
        try:
            found = await _associated(version, source, kind, blobs=blobs, decoders=decoders)
        except (DecoderDied, RuntimeError, Reject) as error:
            # A broken label must not cost anybody the slide itself.
            log.warning("associated image unreadable", image=version.id.image, kind=kind, error=str(error)[-500:])
            continue
        except RetryLater as error:
            if patient:
                raise Postponed(str(error)) from error
            log.warning("associated image left out", image=version.id.image, kind=kind, error=str(error))
            continue
        if found is not None:
            await _keep(version, kind, found, store)


async def _associated(
    version: Version, source: Source, kind: str, *, blobs: Blobs, decoders: Decoders
) -> tuple[int, int, bytes] | None:
    # In a zip the TIFF file is a part of the stored file.
    start, length = source.layout.get("part") or (0, version.length or 0)
    page = source.layout.get("associated", {}).get(kind)
    if page is not None:

        async def read(offset: int, size: int) -> bytes:
            return await blobs.read(version.file, start + offset, min(size, length - offset))

        return await decoders.call(
            pixels.associated_from_tiff, page, reader=read, length=length, seconds=PICTURE_SECONDS
        )
    place = source.layout.get("embedded", {}).get(kind)
    if place is not None:
        coded = await blobs.read(version.file, start + place[0], place[1])
        return await decoders.call(pixels.associated_from_base64, inputs=[coded], seconds=PICTURE_SECONDS)
    if source.reader in ("openslide", "czi") or "member" in source.layout:
        associated = pixels.associated_from_czi if source.reader == "czi" else pixels.associated_from_openslide
        async with opened(version, source, blobs=blobs, decoders=decoders) as path:
            return await decoders.call(associated, str(path), kind, seconds=PICTURE_SECONDS)
    return None


async def _keep(version: Version, kind: str, picture: tuple[int, int, bytes], store: Store) -> None:
    width, height, data = picture
    id = f"{version.id.image}:{version.id.n}:{kind}"
    if await store.thumbnails.insert(Thumbnail(id=id, kind=kind, width=width, height=height, data=data)) == 0:
        # Made before: by another worker, to the same bytes, or before the finishing was asked for again.
        await store.thumbnails.update(id, set={"width": width, "height": height, "data": data})
