"""What a TIFF file's directories say, told by files from other writers, and what is said of damaged ones."""

import io
import os
import pickle
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import simplejpeg
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deploy.local.tissue import Pixels
from shared.errors import Reject
from shared.slides.tiff import TiffSlide, describe
from tests.slides import plain
from tests.slides.aperio import write_svs


class CountedFile(io.BytesIO):
    """Counts the reads, and how many bytes they asked for."""

    reads = 0
    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "a file from far away is never read whole"
        self.reads += 1
        self.asked += size
        return super().read(size)


def look(data: bytes, name: str = "slide.tif") -> TiffSlide:
    return describe(CountedFile(data), len(data), name)


@cache
def picture() -> Pixels:
    return plain.picture(700, 530)


def tiff(
    *pages: dict[str, Any], byteorder: Literal["<", ">"] = "<", bigtiff: bool = False, pixels: Pixels | None = None
) -> bytes:
    """A TIFF file with a page for each set of tifffile options."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=bigtiff, byteorder=byteorder) as writer:
        for options in pages or ({},):
            given = {"photometric": "rgb", "metadata": None, "software": False, **options}
            image = given.pop("pixels", picture() if pixels is None else pixels)
            writer.write(image, **given)
    return buffer.getvalue()


JPEG = {"tile": (256, 256), "compression": "jpeg", "photometric": "ycbcr"}


@pytest.fixture(scope="module")
def svs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("slides") / "slide.svs"
    write_svs(path, 2100, 1500)
    return path.read_bytes()


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("tiles", [JPEG, {**JPEG, "subsampling": (1, 1)}, {"tile": (128, 256)}, {"tile": (64, 64)}])
def test_tiles_are_found_where_tifffile_finds_them(
    byteorder: Literal["<", ">"], bigtiff: bool, tiles: dict[str, Any]
) -> None:
    data = tiff(tiles, byteorder=byteorder, bigtiff=bigtiff)
    slide = look(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0].aspage()

    assert (slide.width, slide.height) == (page.imagewidth, page.imagelength)
    assert (slide.tile_width, slide.tile_height) == (page.tilewidth, page.tilelength)
    assert tuple(slide.offsets) == tuple(page.dataoffsets)
    assert tuple(slide.lengths) == tuple(page.databytecounts)


def test_an_aperio_slide_is_described(svs: bytes) -> None:
    slide = look(svs, "slide.svs")

    assert slide.reason is None
    assert (slide.page, slide.width, slide.height, slide.tile) == (0, 2100, 1500, 256)
    assert (slide.vendor, slide.mpp, slide.objective) == ("aperio", 0.499, 20)
    assert slide.adobe_transform == 1
    assert slide.tables is not None
    assert slide.scanned == "2026-01-02T10:00:00"
    assert slide.properties["aperio.ScanScope ID"] == "SLIDEMILL"
    with tifffile.TiffFile(io.BytesIO(svs)) as file:
        said = {kind: file.pages[page].aspage().description for kind, page in slide.associated.items()}
    assert {kind: text.split()[4] for kind, text in said.items()} == {
        "thumbnail": "2100x1500",
        "label": "label",
        "macro": "macro",
    }


def test_a_description_crosses_a_process_border(svs: bytes) -> None:
    assert pickle.loads(pickle.dumps(look(svs))) == look(svs)


def test_sparse_tiles_have_no_length(tmp_path: Path) -> None:
    path = tmp_path / "sparse.svs"
    write_svs(path, 1100, 900, sparse={(0, 0), (2, 3)})
    slide = look(path.read_bytes())

    assert slide.reason is None
    assert [index for index, length in enumerate(slide.lengths) if not length] == [0, 2 * 5 + 3]
    assert slide.offsets[0] == 0


def test_a_page_without_any_tile_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "nothing.svs"
    write_svs(path, 500, 500, sparse={(row, col) for row in range(2) for col in range(2)})

    assert look(path.read_bytes()).reason == "it has no tile at all"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "its image is stored in strips, not in tiles"),
        ({"tile": (256, 256)}, "its tiles are not compressed"),
        ({"tile": (256, 256), "compression": "lzw"}, "its tiles are compressed with LZW, not as JPEG"),
        ({"tile": (256, 256), "compression": "zlib"}, "its tiles are compressed with Deflate, not as JPEG"),
        ({"tile": (256, 256), "compression": "webp"}, "its tiles are compressed as WebP, not as JPEG"),
        ({**JPEG, "tile": (128, 256)}, "its tiles of 256 x 128 pixels are not square"),
        ({**JPEG, "tile": (64, 64)}, "its tiles' side of 64 pixels is not a multiple of 16 between 128 and 1024"),
        ({**JPEG, "tile": (2048, 2048)}, "its tiles' side of 2048 pixels is not a multiple of 16 between 128 and 1024"),
        (
            {**JPEG, "photometric": "minisblack", "pixels": picture()[:, :, 0]},
            "its colours are stored as grey, neither as RGB nor as YCbCr",
        ),
        (
            {
                **JPEG,
                "photometric": "separated",
                "pixels": np.concatenate([picture(), picture()[:, :, :1]], 2),
                "extratags": [(332, 3, 1, 1, True)],
            },
            "its colours are stored as CMYK, neither as RGB nor as YCbCr",
        ),
        (
            {
                **JPEG,
                "photometric": "rgb",
                "planarconfig": "separate",
                "pixels": np.ascontiguousarray(picture().transpose(2, 0, 1)),
            },
            "its colour channels are stored apart from each other",
        ),
        (
            {**JPEG, "extratags": [(274, 3, 1, 6, True)]},
            "its image is stored turned or mirrored (orientation 6)",
        ),
        (
            {"tile": (256, 256), "compression": ("jpeg", None, {"bitspersample": 16}), "bitspersample": 16},
            "its channels have 16 bits, not 8",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_copied_says_why(options: dict[str, Any], reason: str) -> None:
    if options.get("bitspersample") == 16:
        data = with_tag(tiff(JPEG), 258, 16)
    else:
        data = tiff(options)

    slide = look(data)

    assert slide.reason == reason


def entry_at(data: bytes, tag: int) -> int:
    """Where the entry of a tag lies in the first directory of a classic little-endian TIFF file."""
    at = int.from_bytes(data[4:8], "little")
    for n in range(int.from_bytes(data[at : at + 2], "little")):
        place = at + 2 + 12 * n
        if int.from_bytes(data[place : place + 2], "little") == tag:
            return place
    raise KeyError(tag)


def with_tag(data: bytes, tag: int, value: int, count: int = 1) -> bytes:
    """The file with one tag of its first directory set to a short number, or to `count` numbers at an offset."""
    at = entry_at(data, tag)
    return data[:at] + struct.pack("<HHII", tag, 3 if count == 1 else 4, count, value) + data[at + 12 :]


def test_progressive_tiles_are_not_copied() -> None:
    tiles = [progressive() for _ in range(9)]
    data = tiff({**JPEG, "pixels": iter(tiles), "shape": (530, 700, 3), "dtype": np.uint8})

    reason = look(data).reason

    assert reason is not None
    assert reason == (
        "its tile in row 0, column 0 can't be served alone: "
        "it is progressive JPEG, not baseline JPEG with 8 bits a sample"
    )


def progressive() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(plain.picture(256, 256)).save(buffer, "jpeg", progressive=True)
    return buffer.getvalue()


def test_the_largest_page_is_the_slide_and_label_and_macro_are_not() -> None:
    big = np.zeros((900, 1200, 3), np.uint8)
    data = tiff(
        {"pixels": big, "description": "Macro"},
        {"description": "Label"},
        {**JPEG, "pixels": picture()[:300, :400], "description": "a smaller level"},
        {**JPEG, "description": "the slide"},
        {"pixels": np.zeros((900, 1200), bool), "photometric": "minisblack", "subfiletype": 4},
    )
    slide = look(data)

    assert slide.page == 3
    assert slide.associated == {"macro": 0, "label": 1}


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((20000, 20000), "CENTIMETER", 0.5),
        ((101600, 101600), "INCH", 0.25),
        ((72, 72), "INCH", None),
        ((1, 1), "NONE", None),
    ],
)
def test_resolution_is_believed_where_it_can_be_a_microscopes(
    resolution: tuple[int, int], unit: str, mpp: float | None
) -> None:
    assert look(tiff({"resolution": resolution, "resolutionunit": unit})).mpp == mpp


@pytest.mark.parametrize("description", ["", "Aperio Image Library v12.0.15 \r\n700x530 (256x256)"])
@pytest.mark.parametrize(
    ("deep", "height", "words"),
    [
        (False, 8192, ""),
        (False, 8208, "its tiles of 512 x 8208 pixels are larger than the 4,194,304 that"),
        (True, 2048, ""),
        (True, 2064, "its tiles of 512 x 2064 pixels of 16 bits are larger than the 1,048,576 that"),
    ],
)
def test_tiles_that_take_too_much_memory_are_refused_whoever_made_them(
    tmp_path: Path, description: str, deep: bool, height: int, words: str
) -> None:
    path = tmp_path / "slide.svs"
    pixels = picture().astype(np.uint16) if deep else picture()
    # The header alone says so: the pixels are of smaller tiles.
    path.write_bytes(tiff({"pixels": pixels, "tile": (512, 512), "compression": "zlib", "description": description}))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].aspage().tags["TileLength"].overwrite(height)
    if not words:
        assert look(path.read_bytes()).tile_height == height
        return
    with pytest.raises(Reject, match=words) as caught:
        look(path.read_bytes())
    assert "tiles of 256 to 1024 pixels" in caught.value.remedy


@pytest.mark.parametrize(("compression", "refused"), [("zlib", True), (None, False)])
def test_a_strip_larger_than_libtiff_may_hold_is_refused(
    tmp_path: Path, compression: str | None, refused: bool
) -> None:
    path = tmp_path / "picture.tif"
    path.write_bytes(tiff({"compression": compression, "rowsperstrip": 530}))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].aspage().tags["StripByteCounts"].overwrite(55_000_000)
    os.truncate(path, 60_000_000)
    with path.open("rb") as source:
        if not refused:
            assert describe(source, 60_000_000, "picture.tif").tile_width == 0
            return
        with pytest.raises(Reject, match=r"strips of up to 55,000,000 bytes .* 52,000,000 ") as caught:
            describe(source, 60_000_000, "picture.tif")
    assert "tiles of 256 to 1024 pixels" in caught.value.remedy


@pytest.mark.parametrize("barcode", ["UzI0LTE3", "S24-17"])
def test_a_philips_slide_is_described(barcode: str) -> None:
    description = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        '<Attribute Name="DICOM_ACQUISITION_DATETIME" PMSVR="IString">20240311101500.000000+0200</Attribute>'
        '<Attribute Name="DICOM_PIXEL_SPACING" PMSVR="IDoubleArray">&quot;0.00025&quot; &quot;0.00025&quot;</Attribute>'
        f'<Attribute Name="PIM_DP_UFS_BARCODE" PMSVR="IString">{barcode}</Attribute></DataObject>'
    )
    data = tiff(
        {**JPEG, "tile": (512, 512), "description": description, "software": "Philips DP v1.0"},
        {"description": "Macro", "pixels": picture()[:200]},
        {"description": "Label", "pixels": picture()[:100]},
    )
    slide = look(data)

    assert (slide.vendor, slide.mpp, slide.tile, slide.reason) == ("philips", 0.25, 512, None)
    assert slide.scanned == "2024-03-11T10:15:00+02:00"
    assert slide.barcode == "S24-17"
    assert slide.associated == {"macro": 1, "label": 2}


@pytest.mark.parametrize(
    ("options", "vendor", "mpp", "objective", "reason"),
    [
        (
            {"extratags": [(700, 1, None, b'<iScan Magnification="40" ScanRes="0.2325" BarCode1="B7"/>', True)]},
            "ventana",
            0.2325,
            40,
            "what Ventana's XML says of the scanned areas is not understood",
        ),
        (
            {
                "description": '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
                "<objective>20</objective></scn>"
            },
            "leica",
            None,
            20,
            "Leica stores a slide's areas apart, each with a place of its own",
        ),
        (
            {"software": "MedScan", "description": "OverlapsXY= 64 64;"},
            "trestle",
            None,
            None,
            "Trestle's tiles overlap and have to be joined",
        ),
        (
            {
                "description": '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
                '<Objective ID="O:1" NominalMagnification="63"/><Pixels PhysicalSizeX="0.1" SizeX="700"/></OME>'
            },
            "ome-tiff",
            0.1,
            63,
            None,
        ),
        (
            {"extratags": [(65420, 4, 1, 1, True)]},
            "hamamatsu",
            None,
            None,
            "Hamamatsu stores the whole slide as one JPEG image",
        ),
    ],
    ids=["ventana", "leica", "trestle", "ome", "hamamatsu"],
)
def test_other_vendors_are_recognised(
    options: dict[str, Any], vendor: str, mpp: float | None, objective: float | None, reason: str | None
) -> None:
    data = tiff({**JPEG, **options})
    if vendor == "hamamatsu":
        # A link of an NDPI file is 64 bits long.
        at = int.from_bytes(data[4:8], "little")
        data = data[:4] + struct.pack("<Q", len(data)) + data[12:] + data[at : at + 400]
    slide = look(data)

    assert (slide.vendor, slide.mpp, slide.objective, slide.reason) == (vendor, mpp, objective, reason)


def test_damaged_facts_are_left_out_and_the_slide_is_still_taken() -> None:
    description = "Aperio Image\r\n700x530|AppMag = twenty|MPP = |Date = yesterday|Time = 99|=|||MPP"
    slide = look(tiff({**JPEG, "description": description}))

    assert (slide.vendor, slide.mpp, slide.objective, slide.reason) == ("aperio", None, None, None)
    assert slide.scanned is None


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_slide_that_was_cut_short_anywhere_is_refused(svs: bytes, share: float) -> None:
    with pytest.raises(Reject) as refusal:
        look(svs[: int(len(svs) * share)], "Fall 12.svs")

    assert "Fall 12.svs was cut short: at least" in refusal.value.reason
    assert "missing" in refusal.value.reason
    assert "Upload it again" in refusal.value.remedy


def test_how_much_is_missing_is_right_where_tiles_are_last() -> None:
    data = tiff(JPEG)
    end = max(offset + length for offset, length in zip(look(data).offsets, look(data).lengths, strict=True))

    with pytest.raises(Reject, match=r"at least 1,000 of its bytes are missing after byte"):
        look(data[: end - 1000])


def test_directories_that_run_in_a_circle_are_refused() -> None:
    data = bytearray(tiff())
    first = int.from_bytes(data[4:8], "little")
    link = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[link : link + 4] = data[4:8]

    with pytest.raises(Reject, match="directories run in a circle"):
        look(bytes(data))


@pytest.mark.parametrize(
    ("tag", "value", "count", "said"),
    [
        (324, 8, 0xFFFFFFF0, "damaged: its directory 1 claims 4,294,967,280 values for tag 324"),
        (324, 8, 2, "damaged: its directory lists 2 of the 9 tiles that it claims"),
        (322, 0, 1, "damaged: its tiles have no size"),
        (256, 0, 1, "claims an image of 0 x"),
        (256, 60000, 1, "damaged: its directory lists 9 of the 705 tiles that it claims"),
    ],
)
def test_numbers_that_can_not_be_are_refused(tag: int, value: int, count: int, said: str) -> None:
    with pytest.raises(Reject, match=said):
        look(with_tag(tiff(JPEG), tag, value, count))


@pytest.mark.parametrize("head", [b"II*\0" + b"\xff" * 12, b"II+\0\x08\0\0\0" + b"\xff" * 8, b"II*\0" + b"\0" * 12])
def test_a_header_that_leads_nowhere_is_refused(head: bytes) -> None:
    with pytest.raises(Reject, match=r"x\.tif (is damaged|was cut short)"):
        look(head + b"\0" * 100, "x.tif")


@cache
def small_file() -> bytes:
    return tiff(JPEG, {"description": "Label", "pixels": picture()[:40, :40]})


@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=12))
def test_no_damage_leads_to_anything_but_a_refusal(changes: list[tuple[int, int]]) -> None:
    """Damage near the directories, where it hurts most: a description or a `Reject`, nothing else, and no memory."""
    data = bytearray(small_file())
    places = list(directory_bytes(small_file()))
    for position, value in changes:
        data[places[position % len(places)]] = value
    with suppress(Reject):
        look(bytes(data))


def directory_bytes(data: bytes) -> Iterator[int]:
    yield from range(16)
    at = int.from_bytes(data[4:8], "little")
    while at:
        end = at + 2 + 12 * int.from_bytes(data[at : at + 2], "little")
        yield from range(at, end + 4)
        at = int.from_bytes(data[end : end + 4], "little")


def test_a_profile_that_claims_more_than_any_holds_is_not_read_into_memory() -> None:
    data = tiff({"iccprofile": bytes(3000)})
    profile = look(data).profile
    assert profile is not None
    assert data[profile[0] :][: profile[1]] == bytes(3000)

    assert look(with_tag(data, 34675, profile[0], 2**24 + 1)).profile is None


def test_a_slide_of_41000_tiles_takes_few_reads(capsys: pytest.CaptureFixture[str], caplog: Any) -> None:
    tile = bytes(simplejpeg.encode_jpeg(np.full((256, 256, 3), 240, np.uint8), quality=50))
    buffer = io.BytesIO()
    width, height = 60000, 45000
    with tifffile.TiffWriter(buffer, bigtiff=True) as writer:
        for scale in (1, 4, 16):
            shape = (height // scale, width // scale, 3)
            count = -(-shape[0] // 256) * -(-shape[1] // 256)
            writer.write(
                (tile for _ in range(count)),
                shape=shape,
                dtype=np.uint8,
                tile=(256, 256),
                photometric="ycbcr",
                compression="jpeg",
                description="Aperio Image Library v12\r\n60000x45000|MPP = 0.25",
                metadata=None,
            )
    data = buffer.getvalue()
    source = CountedFile(data)

    slide = describe(source, len(data), "large.svs")

    assert len(slide.offsets) == 235 * 176 == 41_360
    assert source.reads <= 30
    assert source.asked < 2 * 2**20
    assert not caplog.records
    assert capsys.readouterr() == ("", "")
