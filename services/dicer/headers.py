"""What a slide's header says, for files whose tiles may be copied. Pixels are never touched.

Runs in decoder children all the same: a header too may come from anybody.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from services.dicer.core import BY_TILE, DECODED_TILE, Found, suffix
from shared.errors import Reject
from shared.slides import archive, dicom, tiff
from shared.slides.archive import Inside
from shared.slides.part import Part
from shared.store.documents.versions import Reader


def find_in_tiff(length: int, name: str, *, source: BinaryIO) -> Found:
    """What a TIFF file's directories say. Unless it is read tile by tile, only `layout.page` and `reason` matter."""
    slide = tiff.describe(source, length, name)
    reader: Reader = "vips-random"
    if slide.reason is None:
        reader = "tiff-tiles"
    elif slide.coding is not None:
        reader = "tiff-jpeg2000" if slide.coding in ("jpeg2000", "jpeg2000-ycbcr") else "tiff-lossless"
    by_tile = reader in BY_TILE
    return Found(
        reader=reader,
        suffix=suffix(name),
        width=slide.width,
        height=slide.height,
        tile=slide.tile_width if by_tile else DECODED_TILE,
        vendor=slide.vendor,
        mpp=slide.mpp,
        objective=slide.objective,
        barcode=slide.barcode,
        scanned=slide.scanned,
        properties=dict(slide.properties),
        layout={
            "page": slide.page,
            "by_openslide": slide.by_openslide,
            "spare_channel": slide.spare_channel,
            "tables": slide.tables,
            "adobe_transform": slide.adobe_transform,
            "coding": slide.coding,
            "differences": slide.differences,
            "profile": slide.profile,
            "associated": dict(slide.associated),
            "embedded": dict(slide.embedded),
        },
        offsets=list(slide.offsets) if by_tile else (),
        lengths=list(slide.lengths) if by_tile else (),
        reason=slide.reason,
    )


def find_in_dicom(length: int, name: str, *, source: BinaryIO) -> Found:
    """What a DICOM file's header says. Where its frames can't be copied, only `reason` matters."""
    slide = dicom.describe(source, length, name)
    if slide.associated is not None:
        raise Reject(
            f"{name} is only the {slide.associated} of a slide.",
            "Choose it together with the slide's other files, or upload them all in one zip.",
        )
    return _of_dicom(slide, name)


def _of_dicom(slide: dicom.DicomSlide, name: str) -> Found:
    return Found(
        reader="dicom-frames" if slide.reason is None else "openslide",
        suffix=suffix(name),
        width=slide.width,
        height=slide.height,
        tile=slide.tile if slide.reason is None else DECODED_TILE,
        vendor="dicom",
        mpp=slide.mpp,
        objective=slide.objective,
        barcode=slide.barcode,
        scanned=slide.scanned,
        properties=dict(slide.properties),
        layout={"tables": None, "adobe_transform": slide.adobe_transform},
        offsets=list(slide.offsets),
        lengths=list(slide.lengths),
        reason=slide.reason,
    )


def find_in_zip(name: str, budget: int, *, source: BinaryIO) -> tuple[Inside, Found | None]:
    """What is in a zip; and what is found in it where it lies, if its tiles can be read there one by one.

    Raises `Reject` where it is not exactly one slide of at most `budget` bytes.
    """
    inside = archive.find(name, budget, source=source)
    found: list[tuple[int, Found]] = []
    levels: list[tuple[int, Found]] = []
    for member, (start, length) in inside.stored.items():
        part, called = cast(BinaryIO, Part(source, start, length)), f"{name}/{member}"
        if len(inside.members) == 1:
            find = find_in_tiff if inside.kind == "tiff" else find_in_dicom
            found = levels = [(start, find(length, called, source=part))]
        elif (slide := _of_series(part, length, called)) is not None:
            found.append((start, _of_dicom(slide, called)))
            if slide.associated is None:
                levels.append(found[-1])
    if not levels or len(found) < len(inside.members):
        return inside, None
    start, base = max(levels, key=lambda level: level[1].width * level[1].height)
    if base.reader not in BY_TILE:
        return inside, base
    if [(level.width, level.height) for _, level in levels].count((base.width, base.height)) > 1:
        return inside, replace(base, reader="openslide", reason="several of its files hold full resolution")
    profile = base.layout.get("profile")
    layout = {
        **base.layout,
        "profile": (start + profile[0], profile[1]) if profile else None,
        "part": inside.stored[inside.main],
    }
    if len(levels) < len(found):
        # A label or macro image in a file of its own.
        layout |= {"member": inside.main, "unpacked": inside.length}
    return inside, replace(base, layout=layout, offsets=[start + offset for offset in base.offsets])


def _of_series(source: BinaryIO, length: int, name: str) -> dicom.DicomSlide | None:
    """One file of several. Of a series some may hold no level: whether it is a slide is OpenSlide's to say."""
    try:
        return dicom.describe(source, length, name)
    except dicom.NoLevel:
        return None


def find_in_file(path: str, name: str) -> Found:
    """As `find_in_tiff`, of a file on local disk."""
    with Path(path).open("rb", buffering=0) as source:
        return find_in_tiff(Path(path).stat().st_size, name, source=source)


def check_series(folder: str, members: Sequence[str], name: str) -> None:
    """Raises `Reject` where what these files of a DICOM series hold would not be shown right."""
    for member in members:
        path = Path(folder, member)
        with path.open("rb", buffering=0) as source:
            _of_series(source, path.stat().st_size, f"{name}/{member}")
