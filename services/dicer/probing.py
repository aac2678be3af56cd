"""A first look at a file: what it is and how its base level can be made."""

from services.dicer import core, headers, pixels
from services.dicer.core import Found
from services.dicer.zipped import probe_zip
from shared.blobs import Blobs
from shared.blobs.windows import Windows
from shared.decoding import Decoders
from shared.errors import DecoderDied, Reject
from shared.slides.sniff import sniff, unreadable
from shared.store.documents.versions import Version

HEAD_BYTES = 4096
PROBE_SECONDS = 60.0


async def probe(version: Version, *, blobs: Blobs, decoders: Decoders, unpacked_bytes: int) -> Found:
    """Reads headers only, in a decoder child; a zip is unpacked, if it has at most so many bytes.

    Raises `Reject` for what no reader can take.
    """
    length = version.length or 0
    windows = Windows(blobs, version.file)
    head = await windows.read(0, min(length, HEAD_BYTES))
    kind = sniff(head, version.name)
    if kind is None:
        raise Reject(*unreadable(version.name, head))
    header: Found | None = None
    reason = core.NOT_COPIED.get(kind, "")
    try:
        if kind == "zip":
            return await probe_zip(version, windows, unpacked_bytes, blobs=blobs, decoders=decoders)
        if kind in ("tiff", "dicom"):
            header = await decoders.call(
                headers.find_in_tiff if kind == "tiff" else headers.find_in_dicom,
                length,
                version.name,
                reader=windows.read,
                length=length,
                seconds=PROBE_SECONDS,
            )
            if header.reader in core.BY_TILE:
                return header
            reason = header.reason or reason
        if kind in core.PIPED:
            return await decoders.call(
                pixels.find_picture,
                version.name,
                kind,
                reason,
                reader=windows.read,
                length=length,
                seconds=PROBE_SECONDS,
            )
        async with blobs.local(version.file, core.suffix(version.name)) as path:
            return await decoders.call(
                pixels.find_by_path, str(path), version.name, kind, header, reason, seconds=PROBE_SECONDS
            )
    except DecoderDied as error:
        raise Reject(
            f"The header of {version.name} could not be read ({error}).",
            "The file is probably damaged: check that it opens in the scanner's own viewer and upload it again.",
        ) from error
