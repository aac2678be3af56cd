"""A first look at a zip: the one slide in it, read where it lies if its tiles can be, else unpacked."""

from dataclasses import replace

from services.dicer import core, headers, pixels
from services.dicer.core import Found
from shared.blobs import Blobs
from shared.blobs.windows import Windows
from shared.decoding import Decoders
from shared.slides.archive import Inside
from shared.store.documents.versions import Version
from shared.unpacking import unpacked

LOOK_SECONDS = 60.0


async def probe_zip(version: Version, windows: Windows, budget: int, *, blobs: Blobs, decoders: Decoders) -> Found:
    """Raises `Reject` where the zip is not exactly one slide of at most `budget` bytes that can be read."""
    inside, found = await decoders.call(
        headers.find_in_zip,
        version.name,
        budget,
        reader=windows.read,
        length=version.length,
        seconds=LOOK_SECONDS,
    )
    if found is not None and found.reader in core.BY_TILE:
        return found
    name = f"{version.name}/{inside.main}"
    async with unpacked(version, inside.length, blobs=blobs, decoders=decoders) as folder:
        path = str(folder / inside.main)
        if found is None and inside.kind == "tiff":
            found = await decoders.call(headers.find_in_file, path, name, seconds=LOOK_SECONDS)
        if found is None and inside.kind == "dicom":
            await decoders.call(headers.check_series, str(folder), inside.members, version.name, seconds=LOOK_SECONDS)
        kind = inside.kind or "several"
        seen = await decoders.call(
            pixels.find_by_path, path, name, kind, found, _reason(inside, found), seconds=LOOK_SECONDS
        )
    # A pipe would bring the zip.
    layout = {**seen.layout, "piped": False, "member": inside.main, "unpacked": inside.length}
    return replace(seen, layout=layout)


def _reason(inside: Inside, found: Found | None) -> str:
    """Why the base can't be copied."""
    if found is not None and found.reason is not None:
        return found.reason
    return core.NOT_COPIED.get(inside.kind or "several", "it came compressed in a zip")
