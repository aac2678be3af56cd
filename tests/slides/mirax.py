"""Small slides as 3DHISTECH's scanners leave them: a file, and beside it a folder with the photographs.

After OpenSlide's notes on the MIRAX format. A camera takes photographs that overlap; each is cut into 2 x 2 images,
which meet without a seam. A table says where on the glass each photograph lies, and what the scanner saw nothing on
is not there.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tests.slides.vendors import glass

COLS, ROWS = 3, 2
IMAGE_WIDTH, IMAGE_HEIGHT = 176, 128
OVERLAP = 14
FILL = 0xF4F0EC
ASSOCIATED = {"macro": (240, 120), "label": (90, 110), "thumbnail": (130, 84)}

_ID = "4F2A9C0D71B84E6FA1D3C5E7F9B20486"
_SIDE = 2
_LEVELS = 2
_CHANNELS = 3
_FILTERS = ("DAPI", "SpGreen", "SpOrange", "CY5", "SpAqua")
_HEAD = len("01.02") + len(_ID)
# As many as fit on a page of an index before the next one begins.
_PAGE = 10
_LAYERS = {
    "macro": ("ScanDataLayer_SlideThumbnail", "THUMBNAIL_IMAGE_TYPE"),
    "label": ("ScanDataLayer_SlideBarcode", "BARCODE_IMAGE_TYPE"),
    "thumbnail": ("ScanDataLayer_SlidePreview", "PREVIEW_IMAGE_TYPE"),
}

Positions = Literal["plain", "deflated", "none"]
Form = Literal["JPEG", "PNG", "BMP24"]


def write_mirax(
    path: Path,
    *,
    positions: Positions = "plain",
    absent: Collection[tuple[int, int]] = ((1, 2),),
    files: int = 2,
    form: Form = "JPEG",
    filters: int = 1,
) -> None:
    """Writes `path`, which ends in .mrxs, and its folder.

    `positions` is how the table of places is kept; with "none" every photograph lies where the overlap puts it.
    `absent` lists (row, col) of photographs that are not there, `files` is how many data files hold the rest,
    `form` how the photographs are coded. Of several `filters`, as of fluorescence, the first three are the photographs'
    red, green and blue, and what was seen through the others lies in photographs of its own.
    """
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    places = _places(positions)
    data = _DataFiles(files)
    levels = [list(level) for level in _levels(places, set(absent), form)]
    hier = [[data.add(image, at) for at, image in level] for level in levels]
    # A filter that shares its photographs with others has none of its own.
    hier += [
        [data.add(image, at) for at, image in levels[0]] if n and n % _CHANNELS == 0 else [] for n in range(filters)
    ]
    nonhier = []
    if positions != "none":
        table = b"".join(struct.pack("<Bii", 1, *places[key]) for key in sorted(places))
        nonhier.append(data.add(zlib.compress(table) if positions == "deflated" else table))
    nonhier += [data.add(_jpeg(glass(*ASSOCIATED[name]))) for name in ASSOCIATED]
    (folder / "Index.dat").write_bytes(_index(hier, nonhier))
    for n, held in enumerate(data.held):
        (folder / f"Data{n:04}.dat").write_bytes(held)
    (folder / "Slidedat.ini").write_bytes(b"\xef\xbb\xbf" + _slidedat(positions, files, form, filters).encode())
    # The slide's own file is its preview.
    path.write_bytes(_jpeg(glass(300, 200)))


def _places(positions: Positions) -> dict[tuple[int, int], tuple[int, int]]:
    """(x, y) of each photograph by (row, col), row by row."""
    # A stage never stops exactly where it should.
    stray = 0 if positions == "none" else 3
    return {
        (row, col): (
            col * (_SIDE * IMAGE_WIDTH - OVERLAP) - (stray * row if col else 0),
            row * (_SIDE * IMAGE_HEIGHT - OVERLAP) - (stray * (col % 2) if row else 0),
        )
        for row in range(ROWS)
        for col in range(COLS)
    }


def _levels(
    places: dict[tuple[int, int], tuple[int, int]], absent: Collection[tuple[int, int]], form: Form
) -> Iterator[list[tuple[int, bytes]]]:
    """Each image of a level with its number: full resolution, then each photograph as one image of half its size."""
    width, height = _SIDE * IMAGE_WIDTH, _SIDE * IMAGE_HEIGHT
    whole = glass(COLS * width, ROWS * height)
    across = COLS * _SIDE
    photographs = [
        (row * _SIDE, col * _SIDE, whole[y : y + height, x : x + width])
        for (row, col), (x, y) in places.items()
        if (row, col) not in absent
    ]
    yield [
        (
            (top + down) * across + left + right,
            _coded(photograph[down * IMAGE_HEIGHT :, right * IMAGE_WIDTH :][:IMAGE_HEIGHT, :IMAGE_WIDTH], form),
        )
        for top, left, photograph in photographs
        for down in range(_SIDE)
        for right in range(_SIDE)
    ]
    yield [(top * across + left, _coded(photograph[::2, ::2], form)) for top, left, photograph in photographs]


class _DataFiles:
    """The folder's data files, which are filled in turn."""

    def __init__(self, count: int) -> None:
        self.held = [bytearray(b"01.02" + _ID.encode() + bytes(254)) for _ in range(count)]
        self._added = 0

    def add(self, data: bytes, number: int | None = None) -> tuple[int, ...]:
        """The record of an index: the image's number, where it has one; offset, length and file."""
        file = self._added % len(self.held)
        self._added += 1
        offset = len(self.held[file])
        self.held[file] += data
        return (*(() if number is None else (number,)), offset, len(data), file)


def _index(hier: list[list[tuple[int, ...]]], nonhier: list[tuple[int, ...]]) -> bytes:
    """Two tables of records; each record leads to a chain of pages."""
    index = bytearray(b"01.02" + _ID.encode() + bytes(8))

    def put(*numbers: int) -> int:
        at = len(index)
        index.extend(struct.pack(f"<{len(numbers)}i", *numbers))
        return at

    def chained(entries: list[tuple[int, ...]]) -> int:
        pages = [entries[n : n + _PAGE] for n in range(0, len(entries), _PAGE)] or [[]]
        first = len(index)
        for n, page in enumerate(pages, 1):
            # Each page names the one after it, which lies right behind it.
            following = 0 if n == len(pages) else len(index) + 4 * (2 + 4 * len(page))
            put(len(page), following, *(number for entry in page for number in entry))
        return put(0, first)

    levels = [chained(entries) for entries in hier]
    records = [put(0, put(1, 0, 0, 0, *entry)) for entry in nonhier]
    struct.pack_into("<ii", index, _HEAD, put(*levels), put(*records))
    return bytes(index)


def _slidedat(positions: Positions, files: int, form: Form, filters: int) -> str:
    sections: dict[str, dict[str, object]] = {
        "GENERAL": {
            "SLIDE_VERSION": "01.02",
            "SLIDE_ID": _ID,
            "SLIDE_NAME": "S26-1",
            "SLIDE_CREATIONDATETIME": "02/01/2026 03:04:05",
            "IMAGENUMBER_X": COLS * _SIDE,
            "IMAGENUMBER_Y": ROWS * _SIDE,
            "OBJECTIVE_MAGNIFICATION": 20,
            "CameraImageDivisionsPerSide": _SIDE,
        }
    }
    named = sections["HIERARCHICAL"] = {
        "INDEXFILE": "Index.dat",
        "HIER_COUNT": 2,
        "HIER_0_NAME": "Slide zoom level",
        "HIER_0_COUNT": _LEVELS,
    }
    for level in range(_LEVELS):
        section = f"LAYER_0_LEVEL_{level}_SECTION"
        named |= {f"HIER_0_VAL_{level}": f"ZoomLevel_{level}", f"HIER_0_VAL_{level}_SECTION": section}
        sections[section] = {
            "OVERLAP_X": OVERLAP >> level,
            "OVERLAP_Y": OVERLAP >> level,
            "MICROMETER_PER_PIXEL_X": 0.25 * 2**level,
            "MICROMETER_PER_PIXEL_Y": 0.25 * 2**level,
            "IMAGE_FORMAT": form,
            "IMAGE_FILL_COLOR_BGR": int.from_bytes(FILL.to_bytes(3, "big"), "little"),
            "DIGITIZER_WIDTH": IMAGE_WIDTH,
            "DIGITIZER_HEIGHT": IMAGE_HEIGHT,
            "IMAGE_CONCAT_FACTOR": level,
        }
    named |= {"HIER_1_NAME": "Slide filter level", "HIER_1_COUNT": filters}
    for n in range(filters):
        section = f"LAYER_1_LEVEL_{n}_SECTION"
        named |= {f"HIER_1_VAL_{n}": f"FilterLevel_{n}", f"HIER_1_VAL_{n}_SECTION": section}
        sections[section] = {
            "FILTER_NAME": "Default" if filters == 1 else _FILTERS[n],
            "STORING_CHANNEL_NUMBER": n % _CHANNELS,
            "DATA_IN_THIS_FILTER_LEVEL": f"FilterLevel_{n // _CHANNELS * _CHANNELS}",
        }
    layers: list[tuple[str, list[str]]] = [("Scan data layer", [layer for layer, _ in _LAYERS.values()])]
    if positions != "none":
        where = "VIMSLIDE_POSITION_BUFFER" if positions == "plain" else "StitchingIntensityLayer"
        layers.insert(0, (where, ["default"]))
    named["NONHIER_COUNT"] = len(layers)
    for n, (layer, values) in enumerate(layers):
        named |= {f"NONHIER_{n}_NAME": layer, f"NONHIER_{n}_COUNT": len(values)}
        for v, value in enumerate(values):
            section = f"NONHIERLAYER_{n}_LEVEL_{v}_SECTION"
            named |= {f"NONHIER_{n}_VAL_{v}": value, f"NONHIER_{n}_VAL_{v}_SECTION": section}
            sections[section] = {kind: "JPEG" for name, kind in _LAYERS.values() if name == value}
    sections["DATAFILE"] = {"FILE_COUNT": files, **{f"FILE_{n}": f"Data{n:04}.dat" for n in range(files)}}
    lines = (
        f"[{section}]\r\n" + "".join(f"{key} = {value}\r\n" for key, value in keys.items())
        for section, keys in sections.items()
    )
    return "".join(lines)


def _jpeg(pixels: np.ndarray) -> bytes:
    return _coded(pixels, "JPEG")


def _coded(pixels: np.ndarray, form: Form) -> bytes:
    held = BytesIO()
    options = {"quality": 90, "subsampling": 0} if form == "JPEG" else {}
    Image.fromarray(np.ascontiguousarray(pixels)).save(held, form.removesuffix("24"), **options)
    return held.getvalue()
