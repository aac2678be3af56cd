"""Writes one level of a slide as DICOM, by pydicom, as PS3.3 C.8.12 describes it."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import simplejpeg
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from deploy.local.tissue import Pixels, Tissue
from tests.slides import arithmetic

_SYNTAXES = {"jpeg2000": JPEG2000Lossless, "none": ExplicitVRLittleEndian}


def write_dicom(
    path: Path,
    width: int,
    height: int,
    *,
    tile: int = 256,
    organization: Literal["TILED_FULL", "TILED_SPARSE"] = "TILED_FULL",
    colours: Literal["YBR_FULL_422", "RGB"] = "YBR_FULL_422",
    coding: Literal["jpeg", "arithmetic", "jpeg2000", "none"] = "jpeg",
    offsets: Literal["basic", "extended", "none"] = "basic",
    fragments: int = 1,
    sparse: Collection[tuple[int, int]] = (),
) -> None:
    """Draws and writes a slide of `width` x `height` pixels; `sparse` lists (row, col) of tiles to leave out.

    What is coded as arithmetic JPEG shows another picture in tiles of its side.
    """
    tissue = Tissue(width, height, 7)
    cols, rows = -(-width // tile), -(-height // tile)
    kept = [(row, col) for row in range(rows) for col in range(cols) if (row, col) not in sparse]
    frames = [_encode(_draw(tissue, row, col, tile), coding, colours) for row, col in kept]
    data = _header(width, height, tile, len(frames), {"jpeg2000": "YBR_RCT", "none": "RGB"}.get(coding, colours))
    data.file_meta.TransferSyntaxUID = _SYNTAXES.get(coding, JPEGBaseline8Bit)
    data.DimensionOrganizationType = organization
    if organization == "TILED_SPARSE":
        data.PerFrameFunctionalGroupsSequence = [_place(row * tile, col * tile) for row, col in kept]
    if coding == "none":
        data.PixelData = b"".join(frames)
    elif offsets == "extended":
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        data.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=offsets == "basic")
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = coding != "none"
    data.save_as(path, enforce_file_format=True)


def _draw(tissue: Tissue, row: int, col: int, tile: int) -> Pixels:
    drawn = tissue.draw(col * tile, row * tile, tile, tile)
    return np.ascontiguousarray(tissue.glass(tile, tile) if drawn is None else drawn)


def _encode(pixels: Pixels, coding: str, colours: str) -> bytes:
    if coding == "none":
        return pixels.tobytes()
    if coding == "arithmetic":
        return arithmetic.CODED
    if coding == "jpeg2000":
        return bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k"))
    if colours == "RGB":
        return bytes(
            imagecodecs.jpeg8_encode(pixels, level=80, colorspace="RGB", outcolorspace="RGB", subsampling="444")
        )
    return bytes(simplejpeg.encode_jpeg(pixels, quality=80, colorspace="RGB", colorsubsampling="422", fastdct=False))


def _place(top: int, left: int) -> Dataset:
    where = Dataset()
    where.RowPositionInTotalImagePixelMatrix = top + 1
    where.ColumnPositionInTotalImagePixelMatrix = left + 1
    group = Dataset()
    group.PlanePositionSlideSequence = [where]
    return group


def _header(width: int, height: int, tile: int, frames: int, colours: str) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    data.SOPInstanceUID = generate_uid()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID = generate_uid()
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.Modality = "SM"
    data.Manufacturer = "slidemill"
    data.ManufacturerModelName = "tests"
    data.AcquisitionDateTime = "20260102100000"
    data.ContainerIdentifier = "S26-1 A1"
    data.BarcodeValue = "S26-1-A1"
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.TotalPixelMatrixFocalPlanes = 1
    data.NumberOfOpticalPaths = 1
    data.NumberOfFrames = frames
    data.Rows = data.Columns = tile
    data.SamplesPerPixel = 3
    data.PhotometricInterpretation = colours
    data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelRepresentation = 0
    measures = Dataset()
    measures.PixelSpacing = [0.0005, 0.0005]
    measures.SliceThickness = 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.ObjectiveLensPower = 20
    data.OpticalPathSequence = [path]
    return data
