"""Small slides of Huron and ARGOS, after OpenSlide's notes on each: much as Aperio's, but for a few tags."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tests.slides.vendors import TILE, glass

MACRO, LABEL = (200, 120), (90, 100)
_WIDTH, _HEIGHT = 3 * TILE, 2 * TILE
_LABEL_PAGE, _MACRO_PAGE = 1, 9


_LEVEL: dict[str, Any] = {
    "tile": (TILE, TILE),
    "photometric": "ycbcr",
    "compression": "jpeg",
    "compressionargs": {"level": 90},
    "resolution": (40000, 40000),
    "resolutionunit": "CENTIMETER",
    "metadata": None,
}


def write_huron(path: Path) -> None:
    """Full resolution, a thumbnail, another level, label and macro."""
    full = glass(_WIDTH, _HEIGHT)
    with tifffile.TiffWriter(path) as writer:
        about = "Scanner = LE\nBarcode = S26-1"
        make = [(271, "s", 0, "Huron Digital Pathology", True)]
        writer.write(full, description=about, extratags=make, **_LEVEL)
        writer.write(glass(80, 60), photometric="rgb", metadata=None)
        writer.write(np.ascontiguousarray(full[::2, ::2]), **_LEVEL)
        writer.write(glass(*LABEL), photometric="rgb", subfiletype=_LABEL_PAGE, metadata=None)
        writer.write(glass(*MACRO), photometric="rgb", subfiletype=_MACRO_PAGE, metadata=None)


def write_argos(path: Path, planes: int = 1) -> None:
    """So many planes of two levels each, of which OpenSlide shows the middle one; a thumbnail and a macro."""
    full = glass(_WIDTH, _HEIGHT)
    xml = (
        f"<Argos.Scan.Metadata><MinZ>0</MinZ><MaxZ>{planes - 1}</MaxZ><Barcode>S26-1</Barcode>"
        "<ObjectiveMagnification>20</ObjectiveMagnification></Argos.Scan.Metadata>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for n in range(planes):
            # Another plane has other colours.
            plane = np.roll(full, n, axis=2)
            writer.write(plane, extratags=[(65000, "s", 0, xml, True)] if n == 0 else [], **_LEVEL)
            writer.write(np.ascontiguousarray(plane[::2, ::2]), **_LEVEL)
        writer.write(glass(80, 60), photometric="rgb", metadata=None)
        writer.write(glass(*MACRO), photometric="rgb", metadata=None)
