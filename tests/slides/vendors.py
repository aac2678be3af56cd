"""Small slides as other scanners' TIFF files hold them, after OpenSlide's notes on each format."""

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
import tifffile

WIDTH, HEIGHT, TILE = 700, 520, 256
_SCN = "http://www.leica-microsystems.com/scn/2010/10/01"


def glass(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Smooth colours, no two places alike, so that a shift or a swap of channels shows."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    waves = [128 + 90 * np.sin(x / (17 + 6 * n) + n) * np.cos(y / (23 - 4 * n)) for n in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


def write_leica(path: Path, areas: Sequence[tuple[int, int]] = ((400_000, 400_000),)) -> None:
    """Leica SCN: BigTIFF, a macro of the whole glass and areas at the places, in nanometres, that the XML tells."""
    glass_nm = (2_000_000, 1_600_000)
    area_nm = (WIDTH * 500, HEIGHT * 500)
    macro = (250, 200)

    def image(
        size_nm: tuple[int, int], offset: tuple[int, int], ifds: list[tuple[int, int, int]], objective: float
    ) -> str:
        pixels = "".join(f'<dimension sizeX="{w}" sizeY="{h}" r="{n}" ifd="{i}"/>' for n, (i, w, h) in enumerate(ifds))
        return (
            '<image><creationDate>2026-01-02T03:04:05Z</creationDate><device model="Leica SCN400" version="1"/>'
            f'<pixels sizeX="{ifds[0][1]}" sizeY="{ifds[0][2]}">{pixels}</pixels>'
            f'<view sizeX="{size_nm[0]}" sizeY="{size_nm[1]}" offsetX="{offset[0]}" offsetY="{offset[1]}"/>'
            f"<scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>"
            "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    xml = (
        f'<?xml version="1.0"?><scn xmlns="{_SCN}">'
        f'<collection sizeX="{glass_nm[0]}" sizeY="{glass_nm[1]}"><barcode>QTIz</barcode>'
        + image(glass_nm, (0, 0), [(0, *macro)], 0.6)
        + "".join(
            image(area_nm, place, [(2 * n + 1, WIDTH, HEIGHT), (2 * n + 2, WIDTH // 2, HEIGHT // 2)], 20)
            for n, place in enumerate(areas)
        )
        + "</collection></scn>"
    )
    full = glass()
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        pages = [glass(*macro)]
        for n in range(len(areas)):
            # Another area has other colours.
            turned = np.roll(full, n, axis=2)
            pages += [turned, np.ascontiguousarray(turned[::2, ::2])]
        for n, pixels in enumerate(pages):
            writer.write(
                pixels,
                tile=(TILE, TILE),
                photometric="ycbcr",
                compression="jpeg",
                compressionargs={"level": 90},
                description=xml if n == 0 else None,
                metadata=None,
            )


def write_trestle(path: Path, overlap: int = 0) -> None:
    """Trestle: tiled TIFF; with an overlap each tile repeats that many pixels of its neighbours."""
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            glass(3 * TILE, 2 * TILE),
            tile=(TILE, TILE),
            photometric="ycbcr",
            compression="jpeg",
            compressionargs={"level": 90},
            software="MedScan",
            description=f"Objective Power=20;OverlapsXY={overlap} {overlap}",
            metadata=None,
        )


def write_philips(path: Path, sparse: Collection[int] = (), embedded: Mapping[str, np.ndarray] | None = None) -> None:
    """Philips TIFF: tiled, sizes padded to whole tiles, the XML says how large a pixel is.

    `sparse` are the numbers of tiles at full resolution that are not there; `embedded` the pictures in the XML, by
    their type.
    """

    def level(n: int) -> str:
        spacing = f"&quot;{0.00025 * 2**n}&quot; &quot;{0.00025 * 2**n}&quot;"
        return (
            '<DataObject ObjectType="PixelDataRepresentation">'
            f'<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">{spacing}'
            '</Attribute><Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER" Group="0x1001" Element="0x8B02" '
            f'PMSVR="IUInt16">{n}</Attribute></DataObject>'
        )

    def picture(kind: str, pixels: np.ndarray) -> str:
        coded = base64.b64encode(simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="444")).decode()
        return (
            '<DataObject ObjectType="DPScannedImage">'
            f'<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">{kind}</Attribute>'
            f'<Attribute Name="PIM_DP_IMAGE_DATA" Group="0x301D" Element="0x1005" PMSVR="IString">{coded}</Attribute>'
            "</DataObject>"
        )

    xml = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        '<Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070" PMSVR="IString">PHILIPS</Attribute>'
        '<Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray"><Array>'
        '<DataObject ObjectType="DPScannedImage">'
        '<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">WSI</Attribute>'
        '<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01" '
        f'PMSVR="IDataObjectArray"><Array>{level(0)}{level(1)}</Array></Attribute></DataObject>'
        + "".join(starmap(picture, (embedded or {}).items()))
        + "</Array></Attribute></DataObject>"
    )
    full = glass(4 * TILE, 2 * TILE)
    with tifffile.TiffWriter(path) as writer:
        for n, pixels in enumerate((full, np.ascontiguousarray(full[::2, ::2]))):
            writer.write(
                _tiled(pixels, () if n else sparse),
                shape=pixels.shape,
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                compression="jpeg",
                compressionargs={"level": 90},
                software="Philips DP v1.0",
                description=xml if n == 0 else None,
                subfiletype=n and 1,
                metadata=None,
            )


def write_aperio_planes(path: Path) -> None:
    """Aperio SVS of three focal planes: each is a tiled page of full resolution, behind the first lies a thumbnail."""
    planes = [glass(), glass()[::-1], glass()[:, ::-1]]
    said = f"Aperio Image Library v12.0.15 \r\n{WIDTH}x{HEIGHT} [0,0 {WIDTH}x{HEIGHT}] ({TILE}x{TILE}) JPEG/RGB Q=90"
    tiled = {"tile": (TILE, TILE), "compression": "jpeg", "compressionargs": {"level": 90}}
    with tifffile.TiffWriter(path) as writer:
        for n, pixels in enumerate((planes[0], glass(64, 64), *planes[1:])):
            description = f"{said}|AppMag = 20|MPP = 0.5|OffsetZ = {n}"
            options: dict[str, Any] = {"rowsperstrip": 64} if n == 1 else tiled
            writer.write(
                np.ascontiguousarray(pixels), photometric="rgb", description=description, metadata=None, **options
            )


def write_pages(path: Path) -> None:
    """Two pictures that nothing is said of, one a little smaller than the other."""
    with tifffile.TiffWriter(path) as writer:
        for pixels in (glass(), glass(WIDTH - 40, HEIGHT - 20)):
            writer.write(pixels, photometric="rgb", tile=(TILE, TILE), compression="zlib", metadata=None)


def write_imagej(path: Path, shape: tuple[int, int]) -> None:
    """What ImageJ saves of so many channels and planes."""
    channels, planes = shape
    stack = np.broadcast_to(glass()[:, :, 0], (planes, channels, HEIGHT, WIDTH))
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZCYX"})


def write_sparse(path: Path, compression: str | None, sparse: Collection[int] = (1, 4)) -> None:
    """Tiled TIFF by no maker of scanners, without these tiles."""
    pixels = glass()
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            _tiled(pixels, sparse),
            shape=pixels.shape,
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="rgb",
            compression=compression,
            metadata=None,
        )


def _tiled(pixels: np.ndarray, sparse: Collection[int]) -> Iterator[np.ndarray | None]:
    height, width, _ = pixels.shape
    corners = [(y, x) for y in range(0, height, TILE) for x in range(0, width, TILE)]
    for n, (y, x) in enumerate(corners):
        tile = np.zeros((TILE, TILE, 3), np.uint8)
        part = pixels[y : y + TILE, x : x + TILE]
        tile[: part.shape[0], : part.shape[1]] = part
        yield None if n in sparse else tile


class Area(NamedTuple):
    """Tiles that were scanned together: where in the file's grid, how many, and where on the glass in pixels.

    `left` counts from the left, `below` from below.
    """

    col: int
    row: int
    cols: int
    rows: int
    left: float
    below: float


def write_ventana(path: Path, overlap: int = 0, areas: Sequence[Area] = (Area(0, 0, 3, 2, 0, 0),)) -> None:
    """Ventana BIF: areas of tiles, numbered from the bottom left to and fro, and how each joins its neighbours."""
    cols, rows = max(area.col + area.cols for area in areas), max(area.row + area.rows for area in areas)
    scan = '<Metadata><iScan Magnification="20" ScanRes="0.465" ScanWhitePoint="255"><AOI0/></iScan></Metadata>'
    origins = (f'<AOI{n} OriginX="{area.col * TILE}" OriginY="{area.row * TILE}"/>' for n, area in enumerate(areas))
    stitch = (
        '<EncodeInfo Ver="2"><SlideStitchInfo>'
        + "".join(_ventana_area(n, area, overlap) for n, area in enumerate(areas))
        + f"</SlideStitchInfo><AoiOrigin>{''.join(origins)}</AoiOrigin></EncodeInfo>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            glass(200, 300),
            description="Label_Image",
            photometric="rgb",
            metadata=None,
            extratags=[(700, "B", len(scan), scan.encode(), True)],
        )
        writer.write(
            glass(cols * TILE, rows * TILE),
            tile=(TILE, TILE),
            photometric="ycbcr",
            compression="jpeg",
            compressionargs={"level": 90},
            description="level=0 mag=20 quality=90",
            metadata=None,
            extratags=[(700, "B", len(stitch), stitch.encode(), True)],
        )


def _ventana_area(number: int, area: Area, overlap: int) -> str:
    def numbered(col: int, up: int) -> int:
        return up * area.cols + (col if up % 2 == 0 else area.cols - 1 - col) + 1

    def joint(direction: str, one: int, other: int, x: int) -> str:
        return (
            f'<TileJointInfo FlagJoined="1" Confidence="100" Direction="{direction}" Tile1="{one}" Tile2="{other}" '
            f'OverlapX="{x}" OverlapY="0"/>'
        )

    across, up = range(area.cols), range(area.rows)
    joints = [joint("RIGHT", numbered(col, n), numbered(col + 1, n), overlap) for n in up for col in across[:-1]]
    joints += [joint("UP", numbered(col, n), numbered(col, n + 1), 0) for n in up[:-1] for col in across]
    return (
        f'<ImageInfo AOIScanned="1" AOIIndex="{number}" Width="{TILE}" Height="{TILE}" NumRows="{area.rows}" '
        f'NumCols="{area.cols}" Pos-X="{area.left}" Pos-Y="{area.below}">{"".join(joints)}</ImageInfo>'
    )
