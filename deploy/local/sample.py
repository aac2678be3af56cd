"""Writes a sample slide as an Aperio scanner would: an SVS file with tiles, levels, thumbnail, label and macro image.

The layout is the one that https://openslide.org/formats/aperio/ describes: a tiled base page, a thumbnail in strips,
tiled levels at 1/4 and 1/16, then label and macro image in strips.
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
from PIL import Image, ImageDraw, ImageFont
from threadpoolctl import threadpool_limits

from deploy.local.tissue import LIGHT, Pixels, Tissue

SAMPLE_WIDTH, SAMPLE_HEIGHT = 20_000, 15_000
STEP = 4
_MAKER = "Aperio Image Library v12.0.15 "
_DQT, _DHT, _SOS, _APP0, _APP14 = 0xDB, 0xC4, 0xDA, 0xE0, 0xEE

Encode = Callable[[Pixels], bytes]


def draw_sample(path: Path) -> None:
    """The slide that the demo shows when it is given none; `path` exists only once it is whole."""
    unfinished = path.with_name(f".{path.name}")
    write_svs(unfinished, SAMPLE_WIDTH, SAMPLE_HEIGHT)
    unfinished.rename(path)


def write_svs(
    path: Path,
    width: int,
    height: int,
    *,
    tile: int = 256,
    quality: int = 80,
    photometric: Literal["ycbcr", "rgb"] = "ycbcr",
    subsampling: Literal["420", "444"] = "420",
    adobe_marker: bool = True,
    shared_tables: bool = True,
    sparse: Collection[tuple[int, int]] = (),
    bigtiff: bool = False,
    label: bool = True,
    macro: bool = True,
    mpp: float = 0.499,
    objective: int = 20,
    seed: int = 7,
) -> None:
    """Draws and writes a slide of `width` x `height` pixels, a few tile rows in memory at a time.

    `photometric` "rgb" stores RGB components (always 4:4:4), marked so by an Adobe marker or not; `shared_tables`
    keeps the JPEG tables in the page instead of in every tile; `sparse` lists (row, col) of base tiles to leave out.
    """
    tissue = Tissue(width, height, seed)
    encode = _encoder(photometric, quality, subsampling, adobe_marker)
    tables = _tables(encode(tissue.glass(tile, tile))) if shared_tables else None
    finish: Encode = (lambda pixels: _without_tables(encode(pixels))) if shared_tables else encode
    levels = _Levels(width, height, tile, finish)
    head = f"{_MAKER}\r\n{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) JPEG/RGB Q={quality}"
    facts = f"|AppMag = {objective}|MPP = {mpp:.4f}|ScanScope ID = SLIDEMILL|Date = 01/02/26|Time = 10:00:00"
    # The products are so small that threads for them would cost more than they bring.
    with threadpool_limits(1), tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:

        def write_tiled(segments: Iterator[bytes], size: tuple[int, int], description: str) -> None:
            writer.write(
                segments,
                shape=(size[1], size[0], 3),
                dtype=np.uint8,
                tile=(tile, tile),
                photometric=photometric,
                compression="jpeg",
                subsampling=(2, 2) if subsampling == "420" and photometric == "ycbcr" else (1, 1),
                jpegtables=tables,
                subfiletype=0,
                description=description,
                metadata=None,
                software=False,
            )

        def write_strips(pixels: Pixels, description: str, subfiletype: int = 0) -> None:
            writer.write(
                pixels,
                photometric="rgb",
                compression="lzw",
                rowsperstrip=64,
                subfiletype=subfiletype,
                description=description,
                metadata=None,
                software=False,
            )

        write_tiled(levels.base(tissue, frozenset(sparse)), (width, height), head + facts)
        overview = levels.overview()
        write_strips(_fit(overview, 1024), f"{_MAKER}\r\n{width}x{height} -> 1024 - {facts}")
        for size, segments in levels.smaller():
            write_tiled(iter(segments), size, f"{_MAKER}\r\n{width}x{height} -> {size[0]}x{size[1]} - {facts}")
        paper = _label_picture(path.stem.lstrip("."))
        if label:
            write_strips(paper, f"{_MAKER}\r\nlabel {paper.shape[1]}x{paper.shape[0]}", subfiletype=1)
        if macro:
            picture = _macro_picture(overview, paper)
            write_strips(picture, f"{_MAKER}\r\nmacro {picture.shape[1]}x{picture.shape[0]}", subfiletype=9)


class _Levels:
    """The tiles of the smaller levels, gathered while the base is drawn: each is a mean of 4 x 4 pixels below."""

    def __init__(self, width: int, height: int, tile: int, encode: Encode) -> None:
        self._tile = tile
        self._encode = encode
        self._sizes = [(width, height)]
        while min(self._sizes[-1]) // STEP >= tile and len(self._sizes) < 3:
            self._sizes.append((self._sizes[-1][0] // STEP, self._sizes[-1][1] // STEP))
        self._strips = [self._empty_strip(size[0]) for size in self._sizes[1:]]
        self._tiles: list[list[bytes]] = [[] for _ in self._strips]
        self._rows: list[Pixels] = []

    def _empty_strip(self, width: int) -> Pixels:
        columns = -(-width // self._tile) * self._tile
        return np.full((self._tile, columns, 3), LIGHT.astype(np.uint8), np.uint8)

    def base(self, tissue: Tissue, sparse: Collection[tuple[int, int]]) -> Iterator[bytes]:
        """Draws the base row by row, yields its encoded tiles (empty: left out) and fills the levels above."""
        tile = self._tile
        width, height = self._sizes[0]
        glass = self._encode(tissue.glass(tile, tile))
        cols, rows = -(-width // tile), -(-height // tile)
        for row in range(rows):
            strip = np.full((tile // STEP, cols * tile // STEP, 3), LIGHT.astype(np.uint8), np.uint8)
            segments: list[bytes] = []
            for col in range(cols):
                pixels = None if (row, col) in sparse else tissue.draw(col * tile, row * tile, tile, tile)
                if pixels is None:
                    segments.append(b"" if (row, col) in sparse else glass)
                    continue
                strip[:, col * tile // STEP : (col + 1) * tile // STEP] = _quartered(pixels)
                segments.append(self._encode(pixels))
            self._rows.append(strip[::STEP, ::STEP].copy())
            self._climb(0, row, strip)
            if row == rows - 1:
                for level in range(len(self._strips)):
                    self._flush(level)
            # Only now: the writer stops asking at the last tile.
            yield from segments

    def _climb(self, level: int, row: int, quarter: Pixels) -> None:
        """Puts a quarter-size strip into the strip of the level above; a full one is encoded and climbs on."""
        if level >= len(self._strips):
            return
        part = self._tile // STEP
        place = row % STEP
        strip = self._strips[level]
        width = min(strip.shape[1], quarter.shape[1])
        strip[place * part : (place + 1) * part, :width] = quarter[:, :width]
        if place == STEP - 1:
            self._cut(level, row // STEP)

    def _cut(self, level: int, row: int) -> None:
        strip = self._strips[level]
        width, height = self._sizes[level + 1]
        if row * self._tile < height:
            for left in range(0, -(-width // self._tile) * self._tile, self._tile):
                self._tiles[level].append(self._encode(strip[:, left : left + self._tile]))
        part = strip.shape[1] // STEP
        small = _quartered(strip[:, : part * STEP])
        self._strips[level] = self._empty_strip(width)
        self._climb(level + 1, row, small)

    def _flush(self, level: int) -> None:
        """The last strip of a level, if the base ended in the middle of it."""
        width, height = self._sizes[level + 1]
        wanted = -(-width // self._tile) * -(-height // self._tile)
        row = len(self._tiles[level]) // -(-width // self._tile)
        if len(self._tiles[level]) < wanted:
            self._cut(level, row)

    def smaller(self) -> Iterator[tuple[tuple[int, int], list[bytes]]]:
        """((width, height), encoded tiles) of each level above the base."""
        yield from zip(self._sizes[1:], self._tiles, strict=True)

    def overview(self) -> Pixels:
        """The whole slide at a sixteenth of its size."""
        width, height = self._sizes[0]
        return np.concatenate(self._rows)[: max(1, height // STEP**2), : max(1, width // STEP**2)]


def _quartered(pixels: Pixels) -> Pixels:
    """The means of squares of 4 x 4 pixels."""
    rows = pixels[0::STEP].astype(np.uint16)
    for row in range(1, STEP):
        rows += pixels[row::STEP]
    total = rows[:, 0::STEP] + rows[:, 1::STEP] + rows[:, 2::STEP] + rows[:, 3::STEP]
    return ((total + STEP * STEP // 2) // (STEP * STEP)).astype(np.uint8)


def _encoder(photometric: str, quality: int, subsampling: str, adobe_marker: bool) -> Encode:
    if photometric == "ycbcr":
        return lambda pixels: simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), quality=quality, colorspace="RGB", colorsubsampling=subsampling, fastdct=False
        )

    def encode(pixels: Pixels) -> bytes:
        coded = bytes(
            imagecodecs.jpeg8_encode(
                np.ascontiguousarray(pixels), level=quality, colorspace="RGB", outcolorspace="RGB", subsampling="444"
            )
        )
        return coded if adobe_marker else _drop(coded, {_APP14})

    return encode


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment up to the scan, as our own encoders write them."""
    at = 2
    while jpeg[at + 1] != _SOS:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        yield jpeg[at + 1], at, end
        at = end


def _drop(jpeg: bytes, markers: Collection[int]) -> bytes:
    kept, at = [jpeg[:2]], 2
    for marker, start, end in _segments(jpeg):
        if marker not in markers:
            kept.append(jpeg[start:end])
        at = end
    return b"".join([*kept, jpeg[at:]])


def _tables(jpeg: bytes) -> bytes:
    """The tables of an encoded tile as a stream of their own, for the page's JPEGTables tag."""
    parts = [jpeg[start:end] for marker, start, end in _segments(jpeg) if marker in (_DQT, _DHT)]
    return b"".join([b"\xff\xd8", *parts, b"\xff\xd9"])


def _without_tables(jpeg: bytes) -> bytes:
    return _drop(jpeg, {_DQT, _DHT, _APP0})


def _fit(pixels: Pixels, side: int) -> Pixels:
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def _label_picture(name: str) -> Pixels:
    """A paper label as a technician would print it."""
    picture = Image.new("RGB", (420, 440), (250, 249, 244))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((8, 8, 411, 431), outline=(60, 60, 60), width=3)
    large, small = ImageFont.load_default(34), ImageFont.load_default(20)
    pen.text((28, 30), "SLIDEMILL", fill=(20, 20, 20), font=large)
    pen.text((28, 84), name[:24], fill=(20, 20, 20), font=small)
    pen.text((28, 116), "H&E  20x", fill=(20, 20, 20), font=small)
    bars = np.random.default_rng(3).integers(2, 9, 46)
    x = 28
    for number, bar in enumerate(bars):
        if number % 2 == 0:
            pen.rectangle((x, 300, x + int(bar), 400), fill=(15, 15, 15))
        x += int(bar) + 1
    return np.asarray(picture)


def _macro_picture(overview: Pixels, label: Pixels) -> Pixels:
    """A glass slide photographed from above: the label at the left, the tissue seen through the glass at the right."""
    picture = Image.new("RGB", (1280, 460), (176, 181, 184))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((16, 20, 1268, 448), radius=10, fill=(150, 155, 159))
    pen.rounded_rectangle((12, 14, 1264, 442), radius=10, fill=(226, 231, 232), outline=(240, 244, 244), width=2)
    picture.paste(Image.fromarray(label).resize((392, 410)), (22, 23))
    tissue = Image.fromarray(overview)
    tissue.thumbnail((800, 404))
    place = (446 + (800 - tissue.width) // 2, (456 - tissue.height) // 2)
    glass = picture.crop((*place, place[0] + tissue.width, place[1] + tissue.height))
    seen = np.asarray(glass, np.float32) * np.minimum(np.asarray(tissue, np.float32) / LIGHT, 1)
    picture.paste(Image.fromarray(seen.astype(np.uint8)), place)
    return np.asarray(picture)
