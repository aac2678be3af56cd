"""What a DICOM file says of the slide in it, and where its frames lie; pixels are never touched.

Sources: DICOM PS3.3 C.8.12 (whole slide microscopy) and C.7.6.17 (TILED_FULL and TILED_SPARSE), PS3.5 A.4
(encapsulated frames and their tables of offsets).
"""

import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from shared.errors import Reject
from shared.slides.damage import Damaged, Truncated, told
from shared.slides.details import Details, dicom_moment, positive
from shared.slides.elements import (
    CLASS,
    FRAMES,
    LENGTHS,
    OFFSETS,
    WHOLE_SLIDE,
    Dataset,
    Header,
    Reader,
    item,
    items,
    number,
    text,
)
from shared.slides.jpeg import Assembler, read_header
from shared.slides.limits import tiles_too_large

_TOTAL_COLUMNS = 0x00480006
_TOTAL_ROWS = 0x00480007
_COLUMNS = 0x00280011
_ROWS = 0x00280010
_PARTS = 0x00209163
_TYPE = 0x00080008
_PHOTOMETRIC = 0x00280004
_BITS = 0x00280100
_PLANAR = 0x00280006
_SAMPLES = 0x00280002
_FOCAL_PLANES = 0x00480303
_OPTICAL_PATHS = 0x00480302
_ORGANIZATION = 0x00209311
_PER_FRAME = 0x52009230
_SHARED = 0x52009229
_PLACE = 0x0048021A
_COLUMN = 0x0048021E
_ROW = 0x0048021F
_MEASURES = 0x00289110
_SPACING = 0x00280030
_VOLUME_WIDTH = 0x00480001
_PATHS = 0x00480105
_ACQUIRED = 0x0008002A
_DATE = 0x00080023
_TIME = 0x00080033
_BARCODE = 0x22000005
_PROFILE = 0x00282000
_OBJECTIVE = 0x00480112

_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_NOT_COMPRESSED = "1.2.840.10008.1.2.1"
_SYNTAXES = {
    "1.2.840.10008.1.2": "not compressed and described in implicit coding",
    _NOT_COMPRESSED: "not compressed",
    "1.2.840.10008.1.2.4.51": "compressed as extended JPEG",
    "1.2.840.10008.1.2.4.57": "compressed as lossless JPEG",
    "1.2.840.10008.1.2.4.70": "compressed as lossless JPEG",
    "1.2.840.10008.1.2.4.80": "compressed as JPEG-LS",
    "1.2.840.10008.1.2.4.81": "compressed as JPEG-LS",
    "1.2.840.10008.1.2.4.90": "compressed as JPEG 2000",
    "1.2.840.10008.1.2.4.91": "compressed as JPEG 2000",
    "1.2.840.10008.1.2.4.201": "compressed as High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.4.202": "compressed as High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.4.203": "compressed as High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.5": "compressed by run lengths",
}
_ADOBE_TRANSFORM = {"RGB": 0, "YBR_FULL": 1, "YBR_FULL_422": 1, "YBR_PARTIAL_420": 1}
# What is copied, or read by OpenSlide, and in which colours.
_READ = {
    _JPEG_BASELINE: tuple(_ADOBE_TRANSFORM),
    _NOT_COMPRESSED: ("RGB",),
    "1.2.840.10008.1.2.4.90": ("RGB", "YBR_RCT", "YBR_ICT"),
    "1.2.840.10008.1.2.4.91": ("RGB", "YBR_RCT", "YBR_ICT"),
}
_COLOURS = {"MONOCHROME1": "grey", "MONOCHROME2": "grey", "PALETTE COLOR": "a palette", "": "something unnamed"}
# Pictures of a slide that are no level of it: DICOM's words, and ours.
_ASSOCIATED = {"LABEL": "label", "OVERVIEW": "overview", "THUMBNAIL": "thumbnail"}
_PEEK_BYTES = 2**16

_NAMED = {
    0x00080070: "Manufacturer",
    0x00081090: "ManufacturerModelName",
    0x00181000: "DeviceSerialNumber",
    0x00181020: "SoftwareVersions",
    0x00400512: "ContainerIdentifier",
    0x00080008: "ImageType",
}


@dataclass(frozen=True)
class DicomSlide:
    """One level of a slide. Sizes are in pixels, `mpp` in micrometres per pixel.

    `offsets` and `lengths` are where each tile's JPEG data lie, row by row, length 0 where there is no tile; they are
    empty, and `reason` a clause that says why, where tiles can't be copied as they are. `adobe_transform` is what a
    JPEG decoder must take the components for (0 RGB, 1 YCbCr). `properties` is as in `shared.slides.tiff.TiffSlide`.
    `associated` is "label", "overview" or "thumbnail" where it is that and no level.
    """

    width: int
    height: int
    tile: int
    offsets: Sequence[int]
    lengths: Sequence[int]
    adobe_transform: int | None
    reason: str | None
    mpp: float | None
    objective: float | None
    barcode: str | None
    scanned: str | None
    properties: Mapping[str, str]
    associated: str | None


class NoLevel(Reject):
    """The file is DICOM, and no picture of a slide."""


def describe(source: BinaryIO, length: int, name: str) -> DicomSlide:
    """Looks at a DICOM file of `length` bytes, called `name`.

    Raises `Reject` where it is truncated or damaged, holds one of the parts of a level, or several planes or channels,
    or pixels that nobody here reads; `NoLevel` where it holds no slide.
    """
    reader = Reader(source, length)
    try:
        with told(name, length):
            return _describe(reader, reader.header(), name)
    finally:
        reader.close()


def _describe(reader: "Reader", header: Header, name: str) -> DicomSlide:
    data = header.dataset
    if header.frames is None and text(data, CLASS) == WHOLE_SLIDE:
        raise Truncated(reader.length + 1)
    width, height = number(data, _TOTAL_COLUMNS), number(data, _TOTAL_ROWS)
    cols, rows = number(data, _COLUMNS), number(data, _ROWS)
    if not (width and height and cols and rows):
        raise NoLevel(f"{name} is a DICOM file, but holds no slide.", "Upload the slide's VOLUME instances.")
    if number(data, _PARTS) > 1:
        raise Reject(
            f"{name} is one of {number(data, _PARTS)} files that together hold one level of a slide.",
            "Export the slide with one file for each level, or as SVS or tiled TIFF, and upload that.",
        )
    associated = next((ours for word, ours in _ASSOCIATED.items() if word in text(data, _TYPE).split("\\")), None)
    corners = _corners(data)
    if associated is None:
        _refuse_several(data, corners, -(-width // cols) * -(-height // rows), name)
        if said := _undecodable(header):
            raise Reject(
                f"{name} can't be read: {said}.",
                "Export it from the scanner's software in colour of 8 bits, as SVS, as tiled TIFF, or as DICOM with "
                "JPEG or JPEG 2000, and upload that.",
            )
    reason = _unlike_ours(header, cols, rows)
    offsets: Sequence[int] = ()
    lengths: Sequence[int] = ()
    transform = _ADOBE_TRANSFORM.get(text(data, _PHOTOMETRIC))
    if reason is None:
        places, reason = _places(data, corners, width, height, cols)
        if reason is None:
            found, reason = _frames(reader, header, name)
            if reason is None:
                offsets, lengths = _arranged(places, found, -(-width // cols) * -(-height // cols))
                reason = _peek(reader, found, cols, transform)
    details = _details(data, width)
    return DicomSlide(
        width=width,
        height=height,
        tile=cols,
        offsets=() if reason else offsets,
        lengths=() if reason else lengths,
        adobe_transform=transform,
        reason=reason,
        mpp=details.mpp,
        objective=details.objective,
        barcode=details.barcode,
        scanned=details.scanned,
        properties=details.properties,
        associated=associated,
    )


def _refuse_several(data: Dataset, corners: Sequence[tuple[int, int]], tiles: int, name: str) -> None:
    """Of several pictures of the same glass OpenSlide would show the first."""
    held = ""
    if (planes := number(data, _FOCAL_PLANES, 1)) > 1:
        held = f"{planes} focal planes"
    elif (paths := number(data, _OPTICAL_PATHS, 1)) > 1:
        held = f"{paths} optical paths, as of fluorescence"
    elif number(data, FRAMES, 1) > tiles or len(set(corners)) < len(corners):
        held = "several pictures of one place"
    if held:
        raise Reject(
            f"{name} holds {held}, of which only one could be shown.",
            "Export the one to be seen as a slide of its own, and upload that.",
        )


def _corners(data: Dataset) -> list[tuple[int, int]]:
    """Column and row of each frame's first pixel, from 0; empty where the header does not tell."""
    places = (item(group, _PLACE) for group in items(data, _PER_FRAME))
    return [(number(place, _COLUMN) - 1, number(place, _ROW) - 1) for place in places if _COLUMN in place]


def _undecodable(header: Header) -> str | None:
    """Why neither can its frames be copied nor does OpenSlide read them, or None."""
    data = header.dataset
    colours = text(data, _PHOTOMETRIC)
    if header.syntax not in _READ:
        return f"its frames are {_coded(header)}"
    if said := tiles_too_large("frames", number(data, _COLUMNS), number(data, _ROWS), number(data, _BITS)):
        return said
    if number(data, _BITS) != 8:
        return f"its samples have {number(data, _BITS)} bits"
    if number(data, _SAMPLES) != 3 or colours not in _READ[header.syntax]:
        return f"its colours are stored as {_COLOURS.get(colours, colours)}"
    if header.syntax == _NOT_COMPRESSED and number(data, _PLANAR):
        return "its colour channels are stored apart from each other"
    return None


def _coded(header: Header) -> str:
    return _SYNTAXES.get(header.syntax, f"coded by {header.syntax}")


def _unlike_ours(header: Header, cols: int, rows: int) -> str | None:
    """Why what the header says rules out copying, or None."""
    data = header.dataset
    if header.syntax != _JPEG_BASELINE:
        return f"its frames are {_coded(header)}, not as baseline JPEG"
    if cols != rows:
        return f"its frames of {cols} x {rows} pixels are not square"
    if cols % 2 or not 128 <= cols <= 1024:
        return f"its frames' side of {cols} pixels is not an even number between 128 and 1024"
    if number(data, _BITS) != 8:
        return f"its samples have {number(data, _BITS)} bits, not 8"
    colours = text(data, _PHOTOMETRIC)
    if number(data, _SAMPLES) != 3 or colours not in _ADOBE_TRANSFORM:
        return f"its colours are stored as {_COLOURS.get(colours, colours)}, neither as RGB nor as YCbCr"
    return None


def _places(
    data: Dataset, corners: Sequence[tuple[int, int]], width: int, height: int, tile: int
) -> tuple[list[int], str | None]:
    """Each frame's place in the grid of tiles, row by row, in frame order; or why there is none."""
    cols, rows = -(-width // tile), -(-height // tile)
    count = number(data, FRAMES, 1)
    if text(data, _ORGANIZATION) == "TILED_FULL":
        if count != cols * rows:
            return [], f"it has {count:,} frames for {cols * rows:,} tiles"
        return list(range(count)), None
    if len(corners) != count:
        raise Damaged(f"its header tells the place of {len(corners):,} of its {count:,} frames")
    places = []
    for x, y in corners:
        if x % tile or y % tile or not (0 <= x < width and 0 <= y < height):
            return [], "its frames do not lie on one grid"
        places.append(y // tile * cols + x // tile)
    return places, None


def _frames(reader: "Reader", header: Header, name: str) -> tuple[list[tuple[int, int]], str | None]:
    """Offset and length of each frame's data; or why a frame is not in one piece.

    Raises `Reject` where nothing tells which pieces belong to a frame: OpenSlide does not read that.
    """
    count = number(header.dataset, FRAMES, 1)
    if not header.frames:
        raise Damaged("its frames are not encapsulated as their transfer syntax demands")
    first = reader.item_length(header.frames)
    start = header.frames + 8 + first
    offsets, lengths = (header.dataset.get(code, b"") for code in (OFFSETS, LENGTHS))
    if len(offsets) == len(lengths) == 8 * count:
        # The extended table is only allowed where each frame is one fragment.
        pairs = zip(struct.unpack(f"<{count}Q", offsets), struct.unpack(f"<{count}Q", lengths), strict=True)
        found = [(start + offset + 8, size) for offset, size in pairs]
    else:
        # The basic table does not say how many fragments a frame has, so that they have to be counted.
        found = list(reader.fragments(start, count))
        if len(found) > count and not first:
            raise Reject(
                f"{name} can't be read: its {count:,} frames are stored in more pieces than that, and it has no table "
                "of offsets to tell which belong together.",
                "Export it with a table of offsets, or with each frame in one piece, and upload that.",
            )
        if len(found) != count:
            return [], f"its {count:,} frames are stored in {len(found):,} or more pieces, which have to be joined"
    for offset, size in found:
        if offset + size > reader.length:
            raise Truncated(offset + size)
    return found, None


def _arranged(places: list[int], frames: list[tuple[int, int]], tiles: int) -> tuple[Sequence[int], Sequence[int]]:
    offsets, lengths = array("Q", bytes(8 * tiles)), array("Q", bytes(8 * tiles))
    for place, (offset, size) in zip(places, frames, strict=True):
        if size:
            offsets[place], lengths[place] = offset, size
    return offsets, lengths


def _peek(reader: "Reader", frames: list[tuple[int, int]], tile: int, transform: int | None) -> str | None:
    """Why the first, middle or last frame can't be served alone, or None."""
    present = [index for index, (_, size) in enumerate(frames) if size]
    if not present:
        return "it has no tile at all"
    for index in sorted({present[0], present[len(present) // 2], present[-1]}):
        offset, size = frames[index]
        data = reader.read(offset, min(size, _PEEK_BYTES))
        try:
            Assembler(None, transform, tile)(data)
            components = len(read_header(data).components)
        except ValueError as error:
            return f"its frame {index + 1} can't be served alone: {error}"
        if components != 3:
            return f"its JPEG frames have {components} colour channels, not 3"
    return None


def _details(data: Dataset, width: int) -> Details:
    """What the header says of how the slide was scanned."""
    spacing = text(item(item(data, _SHARED), _MEASURES), _SPACING).split("\\")
    millimetres = positive(spacing[-1])
    if millimetres is None and isinstance(volume := data.get(_VOLUME_WIDTH), bytes) and len(volume) == 4:
        millimetres = positive(str(struct.unpack("<f", volume)[0] / width))
    path = item(data, _PATHS)
    moment = text(data, _ACQUIRED) or text(data, _DATE) + text(data, _TIME)
    found = Details(
        mpp=round(millimetres * 1000, 6) if millimetres else None,
        objective=positive(text(path, _OBJECTIVE)),
        barcode=text(data, _BARCODE) or None,
        scanned=dicom_moment(moment),
        properties={f"dicom.{name}": said for code, name in _NAMED.items() if (said := text(data, code))},
    )
    if _PROFILE in path:
        found.properties["icc"] = f"{path[_PROFILE]} bytes"
    return found
