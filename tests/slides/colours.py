"""Pictures stored in every way that decides how pixels become colours: depth, palette, inks, planes, turn, profile.

Each is written so that a right reader shows `picture()` again, and is read back by another library before it is used.
"""

import struct
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pyvips
import tifffile
from PIL import Image

from deploy.local.tissue import Pixels
from tests.slides import arithmetic
from tests.slides.jpeg2000 import write_jpeg2000_svs
from tests.slides.plain import HEIGHT, WIDTH, picture

_ORIENTATION = 274
# How an upright picture has to be stored for each value of the tag (TIFF 6.0, page 36).
_STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}


@lru_cache(maxsize=1)
def _upright() -> Pixels:
    return picture()


def write(kind: str, path: Path) -> Pixels:
    """Writes one kind and returns the sRGB pixels that people should see."""
    upright = _upright()
    seen = WRITERS[kind][1](upright, path)
    return upright if seen is None else seen


def _tiff(path: Path, pixels: Pixels | np.ndarray[Any, Any], **options: Any) -> None:
    tifffile.imwrite(path, pixels, **{"rowsperstrip": 64, "metadata": None, **options})
    assert np.array_equal(tifffile.imread(path), pixels)


def _turned(orientation: int) -> Callable[[Pixels, Path], None]:
    def write_turned(upright: Pixels, path: Path) -> None:
        stored = np.ascontiguousarray(_STORED[orientation](upright))
        _tiff(path, stored, photometric="rgb", extratags=[(_ORIENTATION, "H", 1, orientation, True)])

    return write_turned


def _turned_jpeg(upright: Pixels, path: Path) -> None:
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    Image.fromarray(np.ascontiguousarray(_STORED[6](upright))).save(path, quality=95, exif=exif)


def _grey(upright: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(upright).convert("L"))


def _thrice(grey: Pixels) -> Pixels:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _grey_tiff(upright: Pixels, path: Path, *, inverted: bool = False, deep: bool = False) -> Pixels:
    grey = _grey(upright)
    stored = grey.astype(np.uint16) * 257 if deep else grey
    _tiff(
        path,
        stored.max(initial=65535 if deep else 255) - stored if inverted else stored,
        photometric="miniswhite" if inverted else "minisblack",
    )
    return _thrice(grey)


def _grey_picture(upright: Pixels, path: Path) -> Pixels:
    grey = _grey(upright)
    Image.fromarray(grey).save(path)
    return _thrice(grey)


def _grey_jpeg_tiff(upright: Pixels, path: Path, **options: Any) -> Pixels:
    grey = _grey(upright)
    tifffile.imwrite(
        path,
        grey,
        photometric="minisblack",
        compression="jpeg",
        compressionargs={"level": 95},
        metadata=None,
        **options,
    )
    assert np.abs(tifffile.imread(path).astype(int) - grey).mean() < 2
    return _thrice(grey)


def _jpeg_tiff(upright: Pixels, path: Path) -> None:
    Image.fromarray(upright).save(path, compression="jpeg", quality=95)
    with tifffile.TiffFile(path) as stored:
        assert stored.pages[0].aspage().compression == 7


def _later_jfif(upright: Pixels, path: Path) -> None:
    """Of which decoders warn, and which they read."""
    Image.fromarray(upright).save(path, quality=95)
    path.write_bytes(path.read_bytes().replace(b"JFIF\0\1", b"JFIF\0\3", 1))


def _black_and_white(upright: Pixels, path: Path) -> Pixels:
    """As facsimile machines write it."""
    page = _grey(upright) > 200
    Image.fromarray(page).save(path, compression="group4")
    with Image.open(path) as stored:
        assert stored.mode == "1"
    return _thrice(page * np.uint8(255))


def _palette(upright: Pixels, path: Path) -> Pixels:
    few = Image.fromarray(upright).quantize(64)
    few.save(path)
    with Image.open(path) as stored:
        assert stored.mode == "P"
    return np.asarray(few.convert("RGB"))


def _half_clear(upright: Pixels) -> tuple[Pixels, Pixels]:
    """The picture with its right half three quarters clear, and how that looks over white."""
    alpha = np.full(upright.shape[:2], 255, np.uint8)
    alpha[:, WIDTH // 2 :] = 64
    share = alpha[:, :, None] / 255
    return np.dstack([upright, alpha]), np.rint(upright * share + 255 * (1 - share)).astype(np.uint8)


def _clear_png(upright: Pixels, path: Path) -> Pixels:
    stored, seen = _half_clear(upright)
    Image.fromarray(stored, "RGBA").save(path)
    return seen


def _clear_tiff(upright: Pixels, path: Path) -> Pixels:
    stored, seen = _half_clear(upright)
    _tiff(path, stored, photometric="rgb", extrasamples=["unassalpha"])
    return seen


def _spare_channel(upright: Pixels, path: Path, **options: Any) -> None:
    """With a fourth channel that is half clear, and not said to be alpha."""
    _tiff(path, _half_clear(upright)[0], photometric="rgb", extrasamples=["unspecified"], **options)


def _odd_sides(upright: Pixels, path: Path) -> None:
    """In tiles of 250 pixels, which TIFF forbids and OpenSlide reads."""
    side = 250
    padded = np.pad(upright, ((0, -HEIGHT % side), (0, -WIDTH % side), (0, 0)))
    tiles = padded.reshape(len(padded) // side, side, -1, side, 3).swapaxes(1, 2).reshape(-1, side * side * 3)
    packed = [bytes(imagecodecs.zlib_encode(bytes(tile))) for tile in tiles]
    options: dict[str, Any] = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib", "metadata": None}
    tifffile.imwrite(path, iter(packed), shape=upright.shape, dtype=upright.dtype, **options)
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in ("TileWidth", "TileLength"):
            file.pages[0].aspage().tags[tag].overwrite(side)
    with openslide.OpenSlide(path) as slide:
        assert np.array_equal(np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3], upright)


def _clear_deep_tiff(upright: Pixels, path: Path) -> Pixels:
    stored, seen = _half_clear(upright)
    _tiff(path, stored.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"])
    return seen


def _planar_tiles(upright: Pixels, path: Path, *, deep: bool = False, **options: Any) -> None:
    planes = np.ascontiguousarray(upright.transpose(2, 0, 1))
    tifffile.imwrite(
        path,
        planes.astype(np.uint16) * 257 if deep else planes,
        **{"photometric": "rgb", "planarconfig": "separate", "metadata": None, **options},
    )


def _planar_clear(upright: Pixels, path: Path) -> Pixels:
    stored, seen = _half_clear(upright)
    _planar_tiles(stored, path, tile=(256, 256), extrasamples=["unassalpha"])
    return seen


def _ycbcr(upright: Pixels, path: Path, **options: Any) -> None:
    coded = np.asarray(Image.fromarray(upright).convert("YCbCr"))
    tifffile.imwrite(path, coded, photometric="ycbcr", metadata=None, **options)


def _premultiplied_tiff(upright: Pixels, path: Path, deep: bool = False) -> Pixels:
    stored, seen = _half_clear(upright)
    colours = np.rint(stored[:, :, :3] * (stored[:, :, 3:] / 255)).astype(np.uint8)
    pixels = np.dstack([colours, stored[:, :, 3]])
    _tiff(path, pixels.astype(np.uint16) * 257 if deep else pixels, photometric="rgb", extrasamples=["assocalpha"])
    return seen


def _inks(upright: Pixels) -> Any:
    image: Any = pyvips.Image.new_from_array(upright).copy(interpretation="srgb")
    return image.icc_transform("cmyk", input_profile="srgb", intent="relative")


def _seen_inks(inks: Any) -> Pixels:
    image = inks.icc_transform("srgb", input_profile="cmyk", intent="relative")
    return np.asarray(image.numpy(), np.uint8)


def _cmyk_tiff(upright: Pixels, path: Path) -> Pixels:
    inks = _inks(upright)
    _tiff(path, inks.numpy(), photometric="separated", extratags=[(34675, 7, None, inks.get("icc-profile-data"), True)])
    return _seen_inks(inks)


def _inks_in_jpeg(inks: Pixels, stored_as: str, **options: Any) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(
            inks, level=95, colorspace="CMYK", outcolorspace=stored_as, subsampling="444", **options
        )
    )


def _ycck_jpeg(upright: Pixels, path: Path) -> Pixels:
    """As Adobe writes it: inverted, of colours that no profile tells."""
    inks = _inks(upright)
    path.write_bytes(_inks_in_jpeg(255 - inks.numpy(), "YCCK"))
    with Image.open(path) as stored:
        assert (stored.mode, stored.info["adobe_transform"]) == ("CMYK", 2)
    return _seen_inks(inks)


def _inks_in_jpeg_tiff(upright: Pixels, path: Path, stored_as: str = "CMYK") -> Pixels:
    inks = _inks(upright)
    profile = (34675, 7, None, inks.get("icc-profile-data"), True)
    pixels = np.pad(inks.numpy(), ((0, -HEIGHT % 256), (0, -WIDTH % 256), (0, 0)))
    tiles = (
        _inks_in_jpeg(np.ascontiguousarray(pixels[y : y + 256, x : x + 256]), stored_as)
        for y in range(0, HEIGHT, 256)
        for x in range(0, WIDTH, 256)
    )
    tifffile.imwrite(
        path,
        tiles,
        shape=(HEIGHT, WIDTH, 4),
        dtype=np.uint8,
        tile=(256, 256),
        photometric="separated",
        compression="jpeg",
        extratags=[profile],
        metadata=None,
    )
    return _seen_inks(inks)


def _arithmetic(upright: Pixels, path: Path) -> Pixels:
    path.write_bytes(arithmetic.CODED)
    return arithmetic.shown()


def _arithmetic_tiff(upright: Pixels, path: Path) -> Pixels:
    side = arithmetic.SIDE
    tifffile.imwrite(
        path,
        iter([arithmetic.CODED]),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(side, side),
        photometric="ycbcr",
        subsampling=(1, 1),
        compression="jpeg",
        metadata=None,
    )
    return arithmetic.shown()


def _by_vips(upright: Pixels, path: Path, **options: Any) -> None:
    image: Any = pyvips.Image.new_from_array(upright).copy(interpretation="srgb", xres=2000, yres=2000)
    image.tiffsave(str(path), tile=True, tile_width=256, tile_height=256, pyramid=True, **options)


def _ome(upright: Pixels, path: Path, **options: Any) -> None:
    """As Bio-Formats and QuPath write it, smaller levels within the largest."""
    sizes = f'SizeX="{WIDTH}" SizeY="{HEIGHT}" SizeZ="1" SizeC="3" SizeT="1"'
    said = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" {sizes}>'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData/></Pixels></Image></OME>'
    )
    order, apart = options.pop("byteorder", "<"), options.get("planarconfig") == "separate"
    options = {"photometric": "rgb", "tile": (256, 256), "metadata": None, **options}
    with tifffile.TiffWriter(path, bigtiff=True, byteorder=order) as writer:
        for level in range(2):
            pixels = upright[:: 1 + level, :: 1 + level]
            stored = np.ascontiguousarray(pixels.transpose(2, 0, 1) if apart else pixels)
            more: dict[str, Any] = {"subfiletype": 1} if level else {"subifds": 1, "description": said.encode()}
            writer.write(stored, **options, **more)


def _cmyk_jpeg(upright: Pixels, path: Path) -> Pixels:
    inks = _inks(upright)
    inks.jpegsave(str(path), Q=95)
    with Image.open(path) as stored:
        assert stored.mode == "CMYK"
    return _seen_inks(inks)


def _wide(upright: Pixels, path: Path) -> None:
    """The same colours in Display P3, with that profile."""
    image: Any = pyvips.Image.new_from_array(upright).copy(interpretation="srgb")
    wide = image.icc_transform("p3", input_profile="srgb", intent="relative")
    wide.write_to_file(str(path))
    with Image.open(path) as stored:
        assert stored.info["icc_profile"]
        assert np.abs(np.asarray(stored.convert("RGB")).astype(int) - upright).mean() > 1


def _jpeg2000(upright: Pixels, path: Path) -> Pixels:
    write_jpeg2000_svs(path, WIDTH, HEIGHT)
    return upright


def _wide_jpeg2000(upright: Pixels, path: Path) -> Pixels:
    write_jpeg2000_svs(path, WIDTH, HEIGHT, profile="p3")
    with openslide.OpenSlide(path) as slide:
        assert slide.color_profile is not None
    return upright


def _broken_profile(upright: Pixels, path: Path) -> Pixels:
    write_jpeg2000_svs(path, WIDTH, HEIGHT, broken=True)
    return upright


def _filled_up(upright: Pixels, path: Path, compression: str) -> None:
    """Tiles with more behind their last pixel, of which libtiff takes no notice."""
    side = 256
    padded = np.pad(upright, ((0, -HEIGHT % side), (0, -WIDTH % side), (0, 0)))
    tiles = padded.reshape(len(padded) // side, side, -1, side, 3).swapaxes(1, 2).reshape(-1, side * side * 3)
    pack: dict[str, Callable[..., Any]] = {
        "zlib": imagecodecs.zlib_encode,
        "packbits": imagecodecs.packbits_encode,
        "zstd": imagecodecs.zstd_encode,
    }
    packed = [bytes(pack[compression](bytes(tile) + bytes(side))) for tile in tiles]
    options: dict[str, Any] = {"photometric": "rgb", "tile": (side, side), "metadata": None}
    tifffile.imwrite(path, iter(packed), shape=upright.shape, dtype=upright.dtype, compression=compression, **options)
    with openslide.OpenSlide(path) as slide:
        assert np.array_equal(np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3], upright)


def _idle_predictor(upright: Pixels, path: Path, **options: Any) -> None:
    """A predictor is named, and the packing is none that has one."""
    _tiff(path, upright, photometric="rgb", tile=(256, 256), rowsperstrip=None, software="2", **options)
    with tifffile.TiffFile(path, mode="r+") as file:
        tag = file.pages[0].aspage().tags["Software"]
    with path.open("r+b") as raw:
        raw.seek(tag.offset)
        raw.write(struct.pack("<HHIHH", 317, 3, 1, 2, 0))
    with openslide.OpenSlide(path) as slide:
        assert np.array_equal(np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3], upright)


# File name's ending and writer of each kind.
WRITERS: dict[str, tuple[str, Callable[[Pixels, Path], Pixels | None]]] = {
    "JPEG": (".jpg", lambda upright, path: Image.fromarray(upright).save(path, quality=95)),
    "JPEG, grey": (".jpg", _grey_picture),
    "JPEG, CMYK": (".jpg", _cmyk_jpeg),
    "JPEG, YCCK": (".jpg", _ycck_jpeg),
    "JPEG, arithmetic": (".jpg", _arithmetic),
    "JPEG, turned by EXIF": (".jpg", _turned_jpeg),
    "JPEG, progressive": (".jpg", lambda upright, path: Image.fromarray(upright).save(path, progressive=True)),
    "JPEG, broken profile": (
        ".jpg",
        lambda upright, path: Image.fromarray(upright).save(path, quality=95, icc_profile=b"no profile at all" * 20),
    ),
    "JPEG, profile of other colours": (
        ".jpg",
        lambda upright, path: Image.fromarray(upright).save(
            path, quality=95, icc_profile=_inks(upright).get("icc-profile-data")
        ),
    ),
    "JPEG, JFIF of another version": (".jpg", _later_jfif),
    "PNG": (".png", lambda upright, path: Image.fromarray(upright).save(path)),
    "PNG, grey": (".png", _grey_picture),
    "PNG, palette": (".png", _palette),
    "PNG, alpha": (".png", _clear_png),
    "PNG, Display P3": (".png", _wide),
    "WebP": (".webp", lambda upright, path: Image.fromarray(upright).save(path, lossless=True)),
    "TIFF, strips": (".tif", lambda upright, path: _tiff(path, upright, photometric="rgb")),
    "TIFF, tiles with Deflate": (
        ".tif",
        lambda upright, path: _tiff(
            path, upright, photometric="rgb", tile=(256, 256), rowsperstrip=None, compression="zlib"
        ),
    ),
    "TIFF, planar": (
        ".tif",
        lambda upright, path: _tiff(
            path, np.ascontiguousarray(upright.transpose(2, 0, 1)), photometric="rgb", planarconfig="separate"
        ),
    ),
    "TIFF, 16 bits": (
        ".tif",
        lambda upright, path: _tiff(path, upright.astype(np.uint16) * 257, photometric="rgb"),
    ),
    "TIFF, grey": (".tif", _grey_tiff),
    "TIFF, grey of 16 bits": (".tif", lambda upright, path: _grey_tiff(upright, path, deep=True)),
    "TIFF, grey with white as 0": (".tif", lambda upright, path: _grey_tiff(upright, path, inverted=True)),
    "TIFF, tiles with PackBits": (
        ".tif",
        lambda upright, path: _tiff(
            path, upright, photometric="rgb", tile=(256, 256), rowsperstrip=None, compression="packbits"
        ),
    ),
    "TIFF, tiles with Deflate, filled up": (".tif", partial(_filled_up, compression="zlib")),
    "TIFF, tiles with PackBits, filled up": (".tif", partial(_filled_up, compression="packbits")),
    "TIFF, tiles with Zstandard, filled up": (".tif", partial(_filled_up, compression="zstd")),
    "TIFF, plain tiles with a predictor of no use": (".tif", _idle_predictor),
    "TIFF, tiles with PackBits and a predictor of no use": (".tif", partial(_idle_predictor, compression="packbits")),
    "TIFF, tiles with WebP": (
        ".tif",
        lambda upright, path: _tiff(
            path,
            upright,
            photometric="rgb",
            tile=(256, 256),
            rowsperstrip=None,
            compression="webp",
            compressionargs={"lossless": True},
        ),
    ),
    "TIFF, JPEG in strips": (".tif", _jpeg_tiff),
    "TIFF, grey JPEG in strips": (".tif", partial(_grey_jpeg_tiff, rowsperstrip=64)),
    "TIFF, grey JPEG in tiles": (".tif", partial(_grey_jpeg_tiff, tile=(256, 256))),
    "TIFF, black and white": (".tif", _black_and_white),
    "TIFF, tiles of one channel each": (".tif", partial(_planar_tiles, tile=(256, 256))),
    "TIFF, tiles of one channel each, 16 bits, Deflate": (
        ".tif",
        partial(_planar_tiles, deep=True, tile=(112, 240), compression="zlib", predictor=True),
    ),
    "TIFF, tiles of one channel each, Zstandard": (
        ".tif",
        partial(_planar_tiles, tile=(256, 256), compression="zstd"),
    ),
    "TIFF, tiles of one channel each, JPEG": (
        ".tif",
        partial(_planar_tiles, tile=(256, 256), compression="jpeg", compressionargs={"level": 95}),
    ),
    "TIFF, tiles of one channel each, one of them alpha": (".tif", _planar_clear),
    "TIFF, tiles of YCbCr that are no JPEG": (".tif", partial(_ycbcr, tile=(256, 256), compression="lzw")),
    "TIFF, palette": (".tif", _palette),
    "TIFF, alpha": (".tif", _clear_tiff),
    "TIFF, a fourth channel that is no alpha": (".tif", _spare_channel),
    "TIFF, a fourth channel that is no alpha, in tiles": (
        ".tif",
        partial(_spare_channel, tile=(256, 256), rowsperstrip=None, compression="lzw"),
    ),
    "TIFF, tiles of 250 pixels": (".tif", _odd_sides),
    "TIFF, alpha multiplied in": (".tif", _premultiplied_tiff),
    "TIFF, alpha of 16 bits multiplied in": (
        ".tif",
        lambda upright, path: _premultiplied_tiff(upright, path, deep=True),
    ),
    "TIFF, alpha of 16 bits": (".tif", _clear_deep_tiff),
    "TIFF, CMYK": (".tif", _cmyk_tiff),
    "TIFF, CMYK in JPEG": (".tif", _inks_in_jpeg_tiff),
    "TIFF, arithmetic JPEG": (".tif", _arithmetic_tiff),
    "TIFF, Display P3": (".tif", _wide),
    "TIFF by libvips, JPEG": (".tif", partial(_by_vips, compression="jpeg", Q=95, subifd=True, properties=True)),
    "TIFF by libvips, WebP": (".tif", partial(_by_vips, compression="webp", Q=95)),
    "TIFF by libvips, Deflate": (
        ".tif",
        partial(_by_vips, compression="deflate", predictor="horizontal", subifd=True, properties=True),
    ),
    "OME-TIFF, LZW, big-endian": (
        ".ome.tif",
        partial(_ome, compression="lzw", predictor=True, byteorder=">"),
    ),
    "OME-TIFF, channels apart": (".ome.tif", partial(_ome, compression="lzw", planarconfig="separate")),
    "OME-TIFF, JPEG 2000": (".ome.tif", partial(_ome, compression=33003)),
    "SVS, JPEG 2000": (".svs", _jpeg2000),
    "SVS, JPEG 2000, Display P3": (".svs", _wide_jpeg2000),
    "SVS, JPEG 2000, broken profile": (".svs", _broken_profile),
    **{f"TIFF, orientation {tag}": (".tif", _turned(tag)) for tag in _STORED},
}


def _refused(upright: Pixels, path: Path, **options: Any) -> None:
    """TIFF that another library reads."""
    tifffile.imwrite(path, upright, **{"photometric": "rgb", "metadata": None, **options})
    assert tifffile.imread(path).shape == upright.shape


def _retagged(upright: Pixels, path: Path, tag: str, value: object, **options: Any) -> None:
    """A file that says something else of itself than is so."""
    tifffile.imwrite(path, upright, **{"photometric": "rgb", "metadata": None, **options})
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].aspage().tags[tag].overwrite(value)


def _old_jpeg(upright: Pixels, path: Path) -> None:
    _jpeg_tiff(upright, path)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].aspage().tags["Compression"].overwrite(6)


def _ycck_tiff(upright: Pixels, path: Path) -> None:
    _inks_in_jpeg_tiff(upright, path, "YCCK")


# Writer of each kind of TIFF that is not read, and the clause that says why.
REFUSED: dict[str, tuple[Callable[[Pixels, Path], None], str]] = {
    "LZMA": (partial(_refused, compression="lzma", tile=(256, 256)), "its pixels are compressed with LZMA"),
    "Zstandard in strips": (partial(_refused, compression="zstd"), "its pixels are compressed with Zstandard"),
    "JPEG XL": (partial(_refused, compression="jpegxl", tile=(256, 256)), "its pixels are compressed as JPEG XL"),
    "JPEG XR": (partial(_refused, compression="jpegxr", tile=(256, 256)), "its pixels are compressed as JPEG XR"),
    "PNG": (partial(_refused, compression="png", tile=(256, 256)), "its pixels are compressed as PNG"),
    "JPEG 2000": (partial(_refused, compression="jpeg2000", tile=(256, 256)), "its pixels are compressed as JPEG 2000"),
    "old-style JPEG": (_old_jpeg, "its pixels are compressed as old-style JPEG"),
    "floating point": (
        lambda upright, path: _refused((upright / 255).astype(np.float32), path),
        "its pixels are floating-point numbers",
    ),
    "numbers with a sign": (
        lambda upright, path: _refused(upright.astype(np.int16), path),
        "its pixels are numbers with a sign",
    ),
    "32 bits": (lambda upright, path: _refused(upright.astype(np.uint32), path), "its channels have 32 bits"),
    "YCbCr that is no JPEG, in strips": (_ycbcr, "its colours are stored as YCbCr that is not compressed as JPEG"),
    "inks in tiles of one channel each": (
        lambda upright, path: _planar_tiles(
            np.asarray(Image.fromarray(upright).convert("CMYK")), path, photometric="separated", tile=(256, 256)
        ),
        "its tiles hold one channel each",
    ),
    "a fourth channel that is no alpha, apart": (
        lambda upright, path: _planar_tiles(
            _half_clear(upright)[0], path, tile=(256, 256), extrasamples=["unspecified"]
        ),
        "its tiles of 4 channels hold one that is neither a colour nor alpha, and are stored in a rare way",
    ),
    "inks in tiles of 250 pixels": (
        lambda upright, path: _retagged(
            np.dstack([upright, upright[:, :, :1]]), path, "TileWidth", 250, photometric="separated", tile=(256, 256)
        ),
        "its tiles of 250 x 256 pixels have sides that are no multiple of 16",
    ),
    "five channels": (
        lambda upright, path: _refused(np.dstack([upright, upright[:, :, :2]]), path),
        "its colours need 3 channels, and its pixels have 5",
    ),
    "colours of one channel": (
        lambda upright, path: _retagged(upright, path, "SamplesPerPixel", 1),
        "its colours need 3 channels, and its pixels have 1",
    ),
    "LogLuv": (
        lambda upright, path: _retagged(upright, path, "PhotometricInterpretation", 32845),
        "its colours are stored as LogLuv",
    ),
    "JBIG": (lambda upright, path: _retagged(upright, path, "Compression", 34661), "its pixels are compressed as JBIG"),
    "12 bits": (
        lambda upright, path: _retagged(upright, path, "BitsPerSample", (12, 12, 12)),
        "its channels have 12 bits",
    ),
    "YCCK": (
        _ycck_tiff,
        "its inks are stored as YCCK in JPEG",
    ),
    "CIE Lab": (partial(_refused, photometric="cielab"), "its colours are stored as CIE Lab"),
}
