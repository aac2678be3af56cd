"""What a slide's header says, for files whose tiles may be copied. Pixels are never touched.

Runs in decoder children all the same: a header too may come from anybody.
"""

from typing import BinaryIO

from services.dicer.core import BY_TILE, DECODED_TILE, Found, suffix
from shared.slides import dicom, tiff
from shared.store.documents import Reader


def find_in_tiff(length: int, name: str, *, source: BinaryIO) -> Found:
    """What a TIFF file's directories say. Unless it is read tile by tile, only `layout.page` and `reason` matter."""
    slide = tiff.describe(source, length, name)
    reader: Reader = "tiff-tiles" if slide.reason is None else "tiff-jpeg2000" if slide.jpeg2000 else "vips-random"
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
            "tables": slide.tables,
            "adobe_transform": slide.adobe_transform,
            "profile": slide.profile,
            "associated": dict(slide.associated),
        },
        offsets=list(slide.offsets) if by_tile else (),
        lengths=list(slide.lengths) if by_tile else (),
        reason=slide.reason,
    )


def find_in_dicom(length: int, name: str, *, source: BinaryIO) -> Found:
    """What a DICOM file's header says. Where its frames can't be copied, only `reason` matters."""
    slide = dicom.describe(source, length, name)
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
