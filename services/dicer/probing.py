"""A first look at a file: what it is and how its base level can be made."""

from collections import OrderedDict

from services.dicer import core, headers, pixels
from services.dicer.core import Found
from shared.blobs import Blobs
from shared.decoding import Decoders
from shared.errors import DecoderDied, Reject
from shared.slides.sniff import sniff, unreadable
from shared.store.documents import Version

HEAD_BYTES = 4096
PROBE_SECONDS = 60.0
# The largest chunk of an uploaded file.
WINDOW_BYTES = 4 * 2**20
MOST_WINDOWS = 4


async def probe(version: Version, *, blobs: Blobs, decoders: Decoders) -> Found:
    """Reads headers only, in a decoder child. Raises `Reject` for what no reader can take."""
    length = version.length or 0
    windows = _Windows(blobs, version.file)
    head = await windows.read(0, min(length, HEAD_BYTES))
    kind = sniff(head, version.name)
    if kind is None:
        raise Reject(*unreadable(version.name, head))
    page: int | None = None
    reason = f"a {kind} file holds no JPEG tiles"
    try:
        if kind in ("tiff", "dicom"):
            found = await decoders.call(
                headers.find_in_tiff if kind == "tiff" else headers.find_in_dicom,
                length,
                version.name,
                reader=windows.read,
                length=length,
                seconds=PROBE_SECONDS,
            )
            if found.reader in core.BY_TILE:
                return found
            page, reason = found.layout.get("page"), found.reason or reason
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
                pixels.find_by_path, str(path), version.name, kind, page, reason, seconds=PROBE_SECONDS
            )
    except DecoderDied as error:
        raise Reject(
            f"The header of {version.name} could not be read ({error}).",
            "The file is probably damaged: check that it opens in the scanner's own viewer and upload it again.",
        ) from error


class _Windows:
    """The last few windows of a file that were read: a database answers with whole chunks, however little is asked."""

    def __init__(self, blobs: Blobs, file: str) -> None:
        self._blobs = blobs
        self._file = file
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    async def read(self, offset: int, length: int) -> bytes:
        """As `Blobs.read`."""
        first, last = offset // WINDOW_BYTES, max(offset, offset + length - 1) // WINDOW_BYTES
        whole = b"".join([await self._window(number) for number in range(first, last + 1)])
        start = offset - first * WINDOW_BYTES
        return whole[start : start + length]

    async def _window(self, number: int) -> bytes:
        if number not in self._kept:
            self._kept[number] = await self._blobs.read(self._file, number * WINDOW_BYTES, WINDOW_BYTES)
            if len(self._kept) > MOST_WINDOWS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]
