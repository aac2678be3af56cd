"""Small slides as ZEISS scanners leave them in CZI, after the layout of its segments as OpenSlide and libCZI have it.

Two scenes lie apart on the glass. Each is a mosaic of tiles that overlap, of which the one with the higher number is in
front, and has a smaller picture of the whole. Places are counted from somewhere off the glass.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import imagecodecs
import numpy as np
from PIL import Image

from tests.slides.vendors import glass

WIDTH, HEIGHT = 900, 600
# (x, y, width, height) of each scene.
SCENES = ((0, 0, 420, 600), (520, 40, 380, 400))
TILE, OVERLAP = 220, 20
LABEL, MACRO = (90, 110), (240, 120)
BARCODE = "S26-1-A1"

Compression = Literal["none", "jpeg", "jpegxr", "zstd0", "zstd1"]

_CODES: dict[Compression, int] = {"none": 0, "jpeg": 1, "jpegxr": 4, "zstd0": 5, "zstd1": 6}
_BGR24, _BGR48 = 3, 4
_RGB24, _BGR24_XR = (bytes.fromhex(f"24c3dd6f034efe4bb1853d77768dc90{n}") for n in "dc")
_ORIGIN = (-70_000, 9_000)
_GUID = bytes(range(16))


class _Block(NamedTuple):
    """Pixels, and what they show of the glass: where, at which scale, in which scene and how far in front."""

    pixels: np.ndarray
    x: int
    y: int
    scale: int
    scene: int
    front: int


def write_czi(
    path: Path, *, compression: Compression = "zstd1", deep: bool = False, planes: str = "", attached: bool = True
) -> None:
    """Writes a slide with 8 bits of each colour, or with 16 where it is `deep`.

    `planes` names further dimensions, such as Z, of which the slide has one plane each. `attached` adds label, macro
    and thumbnail.
    """
    blocks = [block for n, scene in enumerate(SCENES) for block in _scene(n, *scene)]
    path.write_bytes(_file(blocks, _metadata(), compression, deep, planes, _attached() if attached else []))


def drawn() -> np.ndarray:
    """What is to be seen of a slide: its scenes on bare glass."""
    seen = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for x, y, width, height in SCENES:
        seen[y : y + height, x : x + width] = glass(WIDTH, HEIGHT)[y : y + height, x : x + width]
    return seen


def _scene(number: int, left: int, top: int, width: int, height: int) -> Iterator[_Block]:
    whole = glass(WIDTH, HEIGHT)
    front = 0
    for y in range(top, top + height, TILE - OVERLAP):
        for x in range(left, left + width, TILE - OVERLAP):
            pixels = whole[y : min(y + TILE, top + height), x : min(x + TILE, left + width)]
            yield _Block(pixels, x, y, 1, number, front)
            front += 1
    yield _Block(whole[top : top + height : 2, left : left + width : 2], left, top, 2, number, 0)


def _attached() -> list[tuple[str, str, bytes]]:
    """Name, type and data of what lies beside the slide. A label is a CZI file in the file."""
    label = [_Block(glass(*LABEL), 0, 0, 1, 0, 0)]
    return [
        ("Label", "CZI", _file(label, "<ImageDocument/>", "none", False, "", [])),
        ("SlidePreview", "JPG", _jpeg(glass(*MACRO))),
        ("Thumbnail", "JPG", _jpeg(glass(60, 40))),
        ("TimeStamps", "CZTIMS", bytes(8)),
    ]


def _file(
    blocks: list[_Block],
    metadata: str,
    compression: Compression,
    deep: bool,
    planes: str,
    attached: list[tuple[str, str, bytes]],
) -> bytes:
    data = bytearray(_segment("ZISRAWFILE", bytes(512)))

    def put(segment: bytes) -> int:
        at = len(data)
        data.extend(segment)
        return at

    xml = metadata.encode()
    about = put(_segment("ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml))
    entries = []
    for block in blocks:
        entries.append(_entry(block, len(data), compression, deep, planes))
        coded = _coded(block.pixels, compression, deep)
        head = struct.pack("<iiq", 0, 0, len(coded)) + entries[-1]
        put(_segment("ZISRAWSUBBLOCK", head.ljust(256, b"\0") + coded))
    directory = put(_segment("ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries)))
    named = []
    for name, kind, held in attached:
        named.append(struct.pack("<2s10xqi16s8s80s", b"A1", len(data), 0, _GUID, kind.encode(), name.encode()))
        put(_segment("ZISRAWATTACH", struct.pack("<i12x", len(held)) + named[-1] + bytes(112) + held))
    beside = put(_segment("ZISRAWATTDIR", struct.pack("<i252x", len(named)) + b"".join(named))) if named else 0
    head = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, _GUID, _GUID, 0, directory, about, 0, beside)
    data[32 : 32 + len(head)] = head
    return bytes(data)


def _segment(name: str, content: bytes) -> bytes:
    allocated = -(-len(content) // 32) * 32
    return struct.pack("<16sqq", name.encode(), allocated, len(content)) + content.ljust(allocated, b"\0")


def _entry(block: _Block, at: int, compression: Compression, deep: bool, planes: str) -> bytes:
    height, width, _ = block.pixels.shape
    dimensions = [
        ("X", _ORIGIN[0] + block.x, width * block.scale, width),
        ("Y", _ORIGIN[1] + block.y, height * block.scale, height),
        ("C", 0, 1, 1),
        ("S", block.scene, 1, 1),
        *((plane, 0, 1, 1) for plane in planes),
    ]
    if block.scale == 1:
        dimensions.append(("M", block.front, 1, 1))
    pixels, pyramid = _BGR48 if deep else _BGR24, 0 if block.scale == 1 else 1
    head = struct.pack("<2siqiib5xi", b"DV", pixels, at, 0, _CODES[compression], pyramid, len(dimensions))
    return head + b"".join(
        struct.pack("<4siifi", n.encode(), start, size, 0.0, held) for n, start, size, held in dimensions
    )


def _coded(pixels: np.ndarray, compression: Compression, deep: bool) -> bytes:
    pixels = np.ascontiguousarray(pixels)
    if compression == "jpeg":
        return _jpeg(pixels)
    stored = pixels.astype("<u2") * 257 if deep else pixels
    if compression == "jpegxr":
        # The only order of three bytes that CZI knows.
        return bytes(imagecodecs.jpegxr_encode(stored)).replace(_RGB24, _BGR24_XR)
    data = np.ascontiguousarray(stored[:, :, ::-1]).tobytes()
    if compression == "none":
        return data
    if compression == "zstd0":
        return bytes(imagecodecs.zstd_encode(data))
    # The lower bytes first, then the upper ones.
    packed = data[::2] + data[1::2] if deep else data
    return bytes((3, 1, int(deep))) + bytes(imagecodecs.zstd_encode(packed))


def _jpeg(pixels: np.ndarray) -> bytes:
    held = BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=90, subsampling=0)
    return held.getvalue()


def _metadata() -> str:
    scale = "".join(f'<Distance Id="{axis}"><Value>2.5e-07</Value></Distance>' for axis in "XY")
    return (
        '<?xml version="1.0"?><ImageDocument><Metadata><Information>'
        f"<Image><SizeX>{WIDTH}</SizeX><SizeY>{HEIGHT}</SizeY><SizeC>1</SizeC><SizeS>{len(SCENES)}</SizeS>"
        "<AcquisitionDateAndTime>2026-01-02T03:04:05Z</AcquisitionDateAndTime>"
        '<ObjectiveSettings><ObjectiveRef Id="Objective:1"/></ObjectiveSettings></Image>'
        '<Instrument><Objectives><Objective Id="Objective:1"><NominalMagnification>20</NominalMagnification>'
        "</Objective></Objectives></Instrument></Information>"
        f"<Scaling><Items>{scale}</Items></Scaling>"
        '<AttachmentInfos><AttachmentInfo Id="AttachmentInfo:1"><Label><Barcodes><Barcode Id="Barcode:1">'
        f"<Content>{BARCODE}</Content></Barcode></Barcodes></Label></AttachmentInfo></AttachmentInfos>"
        "</Metadata></ImageDocument>"
    )
