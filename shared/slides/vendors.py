"""What scanner makers write into the TIFF files of their slides, and what sets their files apart.

Source: OpenSlide's format notes (Aperio, ARGOS, Hamamatsu, Huron, Leica, Philips, Trestle, Ventana), whose vendor names
are used; OME-TIFF specification. Values are read leniently: a missing or odd one is no reason to refuse a slide.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from shared.slides.details import (
    VALUE_CHARACTERS,
    Details,
    aperio_moment,
    base64_text,
    dicom_moment,
    positive,
    timestamp,
)
from shared.slides.directories import NDPI_TAG, Directory

_MAKE, _ARGOS = 271, 65000
_DESCRIPTION, _SOFTWARE, _DATE_TIME, _XMP, _ICC = 270, 305, 306, 700, 34675
_NAMED = {269: "DocumentName", 270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime"}
_UNIT_MICROMETRES = {2: 25400.0, 3: 10000.0}
# Philips puts whole pictures into its XML, in front of some of what we look for.
_PHILIPS_BYTES = 8 * 2**20
_XML_BYTES = 2**20
_LABEL, _MACRO = 1, 9
_REDUCED, _MASK = 1, 4
_RAW_CAMERA = 50706
# No maker's own files, so that OpenSlide is not asked to read them.
NO_MAKER = ("generic-tiff", "ome-tiff")


def recognise(pages: Sequence[Directory]) -> str:
    """The vendor by OpenSlide's names, "ome-tiff" or "generic-tiff"."""
    first = pages[0]
    description, software = first.text(_DESCRIPTION), first.text(_SOFTWARE)
    if NDPI_TAG in first:
        return "hamamatsu"
    if description.startswith("Aperio"):
        return "aperio"
    if software.startswith("Philips") and "<DataObject" in description:
        return "philips"
    if first.text(_MAKE).startswith("Huron"):
        return "huron"
    if b"<Argos.Scan.Metadata" in first.data(_ARGOS, _XML_BYTES):
        return "argos"
    if software.startswith("MedScan"):
        return "trestle"
    if "leica-microsystems.com/scn" in description:
        return "leica"
    if any(b"<iScan" in page.data(_XMP, _XML_BYTES) for page in pages):
        return "ventana"
    if "openmicroscopy.org/Schemas/OME" in description:
        return "ome-tiff"
    return "generic-tiff"


def associated(pages: Sequence[Directory], vendor: str) -> dict[str, int]:
    """The page number of "label", "macro" and "thumbnail", of each that is there."""
    found: dict[str, int] = {}
    if vendor == "argos":
        # The last two pages are no levels.
        return {
            kind: page.index for kind, page in zip(("thumbnail", "macro"), pages[-2:], strict=False) if _striped(page)
        }
    for page in pages:
        kind = _kind(page, vendor)
        if kind:
            found.setdefault(kind, page.index)
    return found


def embedded(pages: Sequence[Directory], vendor: str) -> dict[str, tuple[int, int]]:
    """Where "label" and "macro" lie as JPEG in base64, of each that Philips put into its XML: offset and length."""
    place = pages[0].place(_DESCRIPTION)
    if vendor != "philips" or place is None:
        return {}
    found: dict[str, tuple[int, int]] = {}
    xml = pages[0].data(_DESCRIPTION, _PHILIPS_BYTES)
    starts = [match.start() for match in re.finditer(rb'<DataObject ObjectType="DPScannedImage"', xml)]
    for start, end in pairwise((*starts, len(xml))):
        said = re.compile(rb'<Attribute Name="PIM_DP_IMAGE_TYPE"[^>]*>\s*(LABEL|MACRO)IMAGE\s*<').search(
            xml, start, end
        )
        data = re.compile(rb'<Attribute Name="PIM_DP_IMAGE_DATA"[^>]*>([^<]+)</').search(xml, start, end)
        if said and data:
            found.setdefault(said[1].decode().lower(), (place[0] + data.start(1), len(data[1])))
    return found


def _kind(page: Directory, vendor: str) -> str | None:
    lines = page.text(_DESCRIPTION, 1024).lower().splitlines()
    if vendor == "aperio":
        if page.index == 0 or 322 in page:
            return None
        named = re.match(r"(label|macro)\b", lines[1] if len(lines) > 1 else "")
        if named:
            return named[1]
        return {_LABEL: "label", _MACRO: "macro"}.get(page.number(254), "thumbnail" if page.index == 1 else None)
    if vendor == "huron":
        if not _striped(page):
            return None
        return "thumbnail" if page.index == 1 else {_LABEL: "label", _MACRO: "macro"}.get(page.number(254))
    named = re.match(r"(label|macro|thumbnail)(\b|_)", lines[0] if lines else "")
    if vendor == "ventana" and named and named[1] == "label":
        # The page that Ventana calls label image shows the whole glass.
        return "macro"
    return named[1] if named else None


def _striped(page: Directory) -> bool:
    return 322 not in page


def not_copyable(pages: Sequence[Directory], vendor: str) -> str | None:
    """A clause that says why this vendor's tiles are not yet the slide, or None."""
    if vendor == "hamamatsu":
        return "Hamamatsu stores the whole slide as one JPEG image"
    if vendor == "argos" and len({page.number(256) for page in pages if not _striped(page)}) < sum(
        not _striped(page) for page in pages
    ):
        return "ARGOS stores several planes, of which the middle one is shown"
    if vendor == "leica":
        return "Leica stores a slide's areas apart, each with a place of its own"
    if vendor == "trestle" and re.search(r"OverlapsXY=[ 0]*[1-9]", pages[0].text(_DESCRIPTION)):
        return "Trestle's tiles overlap and have to be joined"
    return None


def not_one_picture(pages: Sequence[Directory], base: Directory, vendor: str) -> tuple[str, str] | None:
    """A clause that says why one page does not show the whole slide, and a remedy; None where it does."""
    if vendor not in NO_MAKER:
        return None
    return (
        _not_the_largest(pages, base)
        or _one_of_channels(pages, base, vendor)
        or _one_of_several([page for page in pages if page.index not in associated(pages, vendor).values()], base)
    )


def _one_of_channels(pages: Sequence[Directory], base: Directory, vendor: str) -> tuple[str, str] | None:
    """As `not_one_picture`: which channels or planes the file says that it holds besides."""
    text = pages[0].text(_DESCRIPTION, _XML_BYTES)
    if vendor == "ome-tiff":
        stated = max(map(_attributes, re.findall(r"<Pixels\b[^>]*>", text)), key=_area, default={})
        channels, planes = _whole(stated, "SizeC"), _whole(stated, "SizeZ") * _whole(stated, "SizeT")
    elif text.startswith("ImageJ="):
        stated = dict(re.findall(r"^(\w+)=(.*?)\s*$", text, re.MULTILINE))
        channels = _whole(stated, "channels")
        planes = _whole(stated, "images") // max(channels, 1)
    else:
        return None
    if base.number(277, 1) == 1 and channels > 1:
        return (
            f"holds {channels} channels apart from each other, as of fluorescence",
            "Export it as one picture in colour, such as OME-TIFF in RGB, and upload that.",
        )
    if planes > 1:
        return (
            f"holds {planes} planes or moments, of which only one could be shown",
            "Export the one to be seen as a file of its own, and upload that.",
        )
    return None


def _one_of_several(pages: Sequence[Directory], base: Directory) -> tuple[str, str] | None:
    """As `not_one_picture`: planes, channels or scanned areas of which nothing is said. Levels are far smaller."""
    area = base.number(256) * base.number(257)
    pictures = sum(
        3 * page.number(256) * page.number(257) > 2 * area and not page.number(254) & (_REDUCED | _MASK)
        for page in pages
        if page is not base
    )
    if not pictures:
        return None
    return (
        f"holds {pictures + 1} pictures of about the same size, of which only one could be shown",
        "Export the one to be seen as a file of its own, and upload that.",
    )


def _not_the_largest(pages: Sequence[Directory], base: Directory) -> tuple[str, str] | None:
    """As `not_one_picture`: why the page that could be shown is only a small picture of another one."""
    if any(_RAW_CAMERA in page for page in pages):
        return (
            "is a raw photograph (DNG), of which only a small picture could be shown",
            "Develop it with the camera's software to TIFF or JPEG, and upload that.",
        )
    shown = base.number(256) * base.number(257)
    for inner in (inner for page in pages for inner in page.inner()):
        if inner.number(256) * inner.number(257) > shown:
            return (
                f"holds a picture of {inner.number(256)} x {inner.number(257)} pixels inside of a smaller one, "
                "where slidemill does not look",
                "Export it as TIFF with the largest picture first, and upload that.",
            )
    return None


def details(pages: Sequence[Directory], base: Directory, vendor: str) -> Details:
    """What the file says of how the slide was scanned."""
    found = Details(mpp=_mpp_of_tags(base))
    properties = found.properties
    if scanned := timestamp(base.text(_DATE_TIME), "%Y:%m:%d %H:%M:%S"):
        found.scanned = scanned
    if vendor == "aperio":
        _aperio(base.text(_DESCRIPTION), found)
    elif vendor == "philips":
        _philips(pages[0].text(_DESCRIPTION, _PHILIPS_BYTES), found)
    elif vendor == "ventana":
        _ventana("".join(page.text(_XMP, _XML_BYTES) for page in pages if _XMP in page), found)
    elif vendor == "leica":
        _leica(pages[0].text(_DESCRIPTION, _XML_BYTES), found)
    elif vendor == "huron":
        stated = re.findall(r"^\s*([^=\n]+?)\s*=\s*(.*?)\s*$", pages[0].text(_DESCRIPTION), re.MULTILINE)
        properties.update({f"huron.{key}": value[:VALUE_CHARACTERS] for key, value in stated})
    elif vendor == "argos":
        _argos(pages[0].text(_ARGOS, _XML_BYTES), found)
    elif vendor == "ome-tiff":
        _ome(pages[0].text(_DESCRIPTION, _XML_BYTES), found)
    if base.count(_ICC):
        properties["icc"] = f"{base.count(_ICC)} bytes"
    for code, name in _NAMED.items():
        if text := base.text(code, 4 * VALUE_CHARACTERS):
            properties[f"tiff.{name}"] = text[:VALUE_CHARACTERS]
    return found


def _aperio(description: str, found: Details) -> None:
    pairs = (part.partition("=") for part in description.split("|")[1:])
    stated = {key.strip(): value.strip() for key, separator, value in pairs if separator and key.strip()}
    found.mpp = positive(stated.get("MPP")) or found.mpp
    found.objective = positive(stated.get("AppMag"))
    found.scanned = (
        aperio_moment(stated.get("Date", ""), stated.get("Time", ""), stated.get("Time Zone", "")) or found.scanned
    )
    for key in ("Barcode", "BarCode", "Slide Barcode"):
        if stated.get(key):
            found.barcode = stated[key]
            break
    found.properties.update({f"aperio.{key}": value[:VALUE_CHARACTERS] for key, value in stated.items()})


def _philips(xml: str, found: Details) -> None:
    def stated(name: str) -> str | None:
        match = re.search(rf'<Attribute Name="{name}"[^>]*>([^<]*)</Attribute>', xml)
        return match[1].replace("&quot;", '"').strip() if match else None

    if spacing := re.match(r'"?([0-9.eE+-]+)', stated("DICOM_PIXEL_SPACING") or ""):
        millimetres = positive(spacing[1])
        found.mpp = round(millimetres * 1000, 6) if millimetres else found.mpp
    if scanned := dicom_moment(stated("DICOM_ACQUISITION_DATETIME") or ""):
        found.scanned = scanned
    if barcode := stated("PIM_DP_UFS_BARCODE"):
        found.barcode = base64_text(barcode)[:VALUE_CHARACTERS]
    for name in ("DICOM_MANUFACTURER", "DICOM_MANUFACTURERS_MODEL_NAME", "DICOM_DEVICE_SERIAL_NUMBER"):
        if value := stated(name):
            found.properties[f"philips.{name}"] = value[:VALUE_CHARACTERS]


def _ventana(xml: str, found: Details) -> None:
    scan = re.search(r"<iScan\b[^>]*>", xml)
    stated = _attributes(scan[0]) if scan else {}
    found.mpp = positive(stated.get("ScanRes")) or found.mpp
    found.objective = positive(stated.get("Magnification"))
    if barcode := stated.get("BarCode1") or stated.get("Barcode1D"):
        found.barcode = barcode[:VALUE_CHARACTERS]
    found.properties.update({f"ventana.{key}": value[:VALUE_CHARACTERS] for key, value in stated.items()})


def _leica(xml: str, found: Details) -> None:
    if match := re.search(r"<objective>\s*([0-9.]+)\s*</objective>", xml):
        found.objective = positive(match[1])
    if match := re.search(r"<creationDate>\s*([^<\s]+)\s*</creationDate>", xml):
        found.scanned = match[1][:VALUE_CHARACTERS]
    if match := re.search(r"<barcode>\s*([^<]+?)\s*</barcode>", xml):
        found.barcode = match[1][:VALUE_CHARACTERS]


def _argos(xml: str, found: Details) -> None:
    if match := re.search(r"<ObjectiveMagnification>\s*([0-9.]+)\s*<", xml):
        found.objective = positive(match[1])
    if match := re.search(r"<Barcode>\s*([^<]+?)\s*<", xml):
        found.barcode = match[1][:VALUE_CHARACTERS]


def _ome(xml: str, found: Details) -> None:
    pixels = re.search(r"<Pixels\b[^>]*>", xml)
    stated = _attributes(pixels[0]) if pixels else {}
    if stated.get("PhysicalSizeXUnit", "µm") in ("µm", "μm", "um"):
        found.mpp = positive(stated.get("PhysicalSizeX")) or found.mpp
    objective = re.search(r"<Objective\b[^>]*>", xml)
    if objective:
        found.objective = positive(_attributes(objective[0]).get("NominalMagnification"))
    if match := re.search(r"<AcquisitionDate>\s*([^<\s]+)\s*</AcquisitionDate>", xml):
        found.scanned = match[1][:VALUE_CHARACTERS]


def _area(pixels: dict[str, str]) -> int:
    return _whole(pixels, "SizeX") * _whole(pixels, "SizeY")


def _whole(stated: dict[str, str], key: str) -> int:
    """1 where it is not said."""
    return int(stated[key]) if stated.get(key, "").isdecimal() else 1


def _attributes(element: str) -> dict[str, str]:
    return dict(re.findall(r'([A-Za-z_][\w.-]*)\s*=\s*"([^"]*)"', element))


def _mpp_of_tags(page: Directory) -> float | None:
    unit, across = _UNIT_MICROMETRES.get(page.number(296, 2)), page.ratio(282)
    mpp = unit / across if unit and across else None
    # Screen and print resolutions such as 72 dpi say nothing about glass.
    return round(mpp, 6) if mpp is not None and 0.01 < mpp < 10 else None
