"""Small slides as Hamamatsu's older scanners leave them: an index and, beside it, the pictures that it names.

After OpenSlide's notes on VMS and VMU. VMS cuts the slide into a few large JPEG files, which can be entered at each
restart marker; VMU keeps 12 bits of each colour, uncompressed, in columns.
"""

import re
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tests.slides.vendors import glass

COLS, ROWS = 2, 2
# The last column and row are smaller. Restart markers come every 16 blocks of 8 x 8 pixels.
WIDTHS, HEIGHTS = (512, 384), (320, 224)
NANOMETRES = 460
_BLOCK = 8
_RESTART = 16
_COLUMN = 64
_NGR_HEAD = 32


def write_vms(path: Path, *, optimisation: bool = True) -> None:
    """Writes `path`, which ends in .vms, four pictures, a map, a macro and, as most scanners do, where markers are."""
    name = path.stem
    whole = glass(sum(WIDTHS), sum(HEIGHTS))
    stated: dict[str, object] = {"NoLayers": 1, "NoJpegColumns": COLS, "NoJpegRows": ROWS}
    places = bytearray()
    for row in range(ROWS):
        for col in range(COLS):
            x, y = sum(WIDTHS[:col]), sum(HEIGHTS[:row])
            data = _jpeg(whole[y : y + HEIGHTS[row], x : x + WIDTHS[col]])
            place = f"({col},{row})" if (col, row) != (0, 0) else ""
            stated[f"ImageFile{place}"] = f"{name}{place}.jpg"
            (path.parent / f"{name}{place}.jpg").write_bytes(data)
            # Each row of blocks in 40 bytes.
            starts = _starts(data)[:: WIDTHS[col] // (_BLOCK * _RESTART)]
            places += b"".join(struct.pack("<q32x", start) for start in starts)
    (path.parent / f"{name}_map2.jpg").write_bytes(_jpeg(whole[::4, ::4][:128, :128]))
    (path.parent / f"{name}_macro.jpg").write_bytes(_jpeg(glass(240, 120), restart=0))
    stated |= {"MapFile": f"{name}_map2.jpg", "MacroImage": f"{name}_macro.jpg"}
    if optimisation:
        stated["OptimisationFile"] = f"{name}.opt"
        (path.parent / f"{name}.opt").write_bytes(places)
    _write_index(path, "Virtual Microscope Specimen", stated)


def write_vmu(path: Path) -> None:
    """Writes `path`, which ends in .vmu, full resolution, a map and a macro."""
    name = path.stem
    whole = glass(sum(WIDTHS), sum(HEIGHTS))
    (path.parent / f"{name}.ngr").write_bytes(_ngr(whole))
    (path.parent / f"{name}_map2.ngr").write_bytes(_ngr(whole[::4, ::4][:, : 3 * _COLUMN]))
    (path.parent / f"{name}_macro.jpg").write_bytes(_jpeg(glass(240, 120), restart=0))
    stated = {
        "NoLayers": 1,
        "ImageFile": f"{name}.ngr",
        "MapFile": f"{name}_map2.ngr",
        "MacroImage": f"{name}_macro.jpg",
        "BitsPerPixel": 36,
        "PixelOrder": "RGB",
    }
    _write_index(path, "Uncompressed Virtual Microscope Specimen", stated)


def _write_index(path: Path, section: str, stated: dict[str, object]) -> None:
    stated |= {
        "PhysicalWidth": sum(WIDTHS) * NANOMETRES,
        "PhysicalHeight": sum(HEIGHTS) * NANOMETRES,
        "SourceLens": 20,
        "Created": "2026/01/02",
    }
    path.write_text(f"[{section}]\r\n" + "".join(f"{key}={value}\r\n" for key, value in stated.items()))


def _jpeg(pixels: np.ndarray, restart: int = _RESTART) -> bytes:
    held = BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.save(held, "JPEG", quality=90, subsampling="4:4:4", restart_marker_blocks=restart)
    return held.getvalue()


def _starts(data: bytes) -> list[int]:
    """Where the coded data of each span between restart markers begins."""
    scan = data.index(b"\xff\xda") + 2
    first = scan + int.from_bytes(data[scan : scan + 2], "big")
    return [first, *(match.end() for match in re.compile(rb"\xff[\xd0-\xd7]").finditer(data, first))]


def _ngr(pixels: np.ndarray) -> bytes:
    height, width, _ = pixels.shape
    # Twelve bits, of which people see the upper eight.
    deep = (pixels.astype("<u2") << 4) | 0xB
    columns = (deep[:, x : x + _COLUMN].tobytes() for x in range(0, width, _COLUMN))
    head = struct.pack("<2s2xiii8xi", b"GN", width, height, _COLUMN, _NGR_HEAD)
    return head.ljust(_NGR_HEAD, b"\0") + b"".join(columns)
