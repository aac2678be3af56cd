"""Small OME-TIFF files, after the OME-TIFF specification: full resolution as a page, smaller levels below it."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tests.slides.vendors import HEIGHT, TILE, WIDTH, glass


def write_ome(path: Path, compression: str = "jpeg", channels: int = 1, planes: int = 1) -> None:
    """OME-TIFF: colour in one channel, or grey `channels`, in so many `planes`; smaller levels in sub-directories."""
    full = glass()
    size = f'SizeX="{WIDTH}" SizeY="{HEIGHT}" SizeZ="{planes}" SizeC="{3 if channels == 1 else channels}" SizeT="1"'
    samples = 3 if channels == 1 else 1
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Instrument ID="Instrument:0"><Objective ID="Objective:0" NominalMagnification="20.0"/></Instrument>'
        '<Image ID="Image:0"><AcquisitionDate>2026-01-02T03:04:05</AcquisitionDate>'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" {size} PhysicalSizeX="0.25" PhysicalSizeY="0.25" '
        'PhysicalSizeXUnit="µm" PhysicalSizeYUnit="µm">'
        + "".join(f'<Channel ID="Channel:0:{n}" SamplesPerPixel="{samples}"/>' for n in range(channels))
        + "<TiffData/></Pixels></Image></OME>"
    )
    options: dict[str, Any] = {"tile": (TILE, TILE), "compression": compression, "metadata": None}
    if compression == "jpeg":
        options["compressionargs"] = {"level": 90}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for n in range(channels * planes):
            pixels = full if channels == 1 else np.ascontiguousarray(full[:, :, n % 3])
            writer.write(
                pixels,
                photometric="rgb" if channels == 1 else "minisblack",
                description=xml.encode() if n == 0 else None,
                subifds=1,
                **options,
            )
            half = np.ascontiguousarray(pixels[::2, ::2])
            writer.write(half, photometric="rgb" if channels == 1 else "minisblack", subfiletype=1, **options)
