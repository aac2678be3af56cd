"""What a slide says of itself, in the same words whoever made it. Pure.

Source for OpenSlide's names of properties: its documentation of each format. Values are read leniently: a missing or
odd one is no reason to refuse a slide.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

VALUE_CHARACTERS = 1000
# Where OpenSlide keeps the time of a scan, and how it is written there.
_SCANNED = (
    ("hamamatsu.Created", "%Y/%m/%d"),
    ("mirax.GENERAL.SLIDE_CREATIONDATETIME", "%d/%m/%Y %H:%M:%S"),
    ("tiff.DateTime", "%Y:%m:%d %H:%M:%S"),
)
_SCANNED_DICOM = ("dicom.AcquisitionDateTime", "philips.DICOM_ACQUISITION_DATETIME")
_SCANNED_ISO = ("leica.creation-date", "zeiss.Information.Image.AcquisitionDateAndTime")
# OpenSlide's own comes first: Philips's is coded.
_BARCODES = (
    "openslide.barcode",
    "aperio.Barcode",
    "dicom.BarcodeValue",
    "leica.barcode",
    "philips.PIM_DP_UFS_BARCODE",
    "ventana.BarCode1",
)


@dataclass
class Details:
    """`mpp` in micrometres per pixel, `objective` as a magnification, `scanned` in ISO 8601.

    `scanned` has no zone where the scanner names none. `properties` are the maker's own words.
    """

    mpp: float | None = None
    objective: float | None = None
    barcode: str | None = None
    scanned: str | None = None
    properties: dict[str, str] = field(default_factory=dict)


def of_openslide(properties: Mapping[str, str]) -> Details:
    """From the properties that OpenSlide reports, whatever the format."""
    found = Details(
        mpp=positive(properties.get("openslide.mpp-x")),
        objective=positive(properties.get("openslide.objective-power")),
        barcode=next((properties[name][:VALUE_CHARACTERS] for name in _BARCODES if properties.get(name)), None),
        properties={
            name: value[:VALUE_CHARACTERS]
            for name, value in properties.items()
            if not name.startswith("openslide.level")
        },
    )
    aperio = aperio_moment(
        properties.get("aperio.Date", ""), properties.get("aperio.Time", ""), properties.get("aperio.Time Zone", "")
    )
    stated = (timestamp(properties.get(name, ""), form) for name, form in _SCANNED)
    dicom = (dicom_moment(properties.get(name, "")) for name in _SCANNED_DICOM)
    iso = (_iso(properties.get(name, "")) for name in _SCANNED_ISO)
    found.scanned = next((moment for moment in (aperio, *dicom, *iso, *stated) if moment), None)
    return found


def of_zeiss(xml: str) -> Details:
    """From the metadata of a CZI file."""

    def stated(pattern: str) -> str | None:
        match = re.search(pattern, xml, re.DOTALL)
        return match[1].strip()[:VALUE_CHARACTERS] if match else None

    lens = stated(r'<ObjectiveRef\b[^>]*\bId="([^"]+)"')
    found = Details(
        mpp=_micrometres(stated(r'<Distance\b[^>]*\bId="X"[^>]*>.{0,500}?<Value>([^<]*)<')),
        barcode=stated(r"<Barcode\b[^>]*>.{0,2000}?<Content>([^<]*)<"),
        scanned=_iso(stated(r"<AcquisitionDateAndTime>([^<]*)<") or ""),
    )
    if lens:
        head = rf'<Objective\b[^>]*\bId="{re.escape(lens)}"[^>]*>'
        found.objective = positive(stated(head + r".{0,5000}?<NominalMagnification>([^<]*)<"))
    if microscope := stated(r'<Microscope\b[^>]*\bName="([^"]+)"'):
        found.properties["zeiss.Microscope"] = microscope
    return found


def _micrometres(metres: str | None) -> float | None:
    try:
        micrometres = float(metres or "") * 1e6
    except ValueError:
        return None
    return round(micrometres, 6) if 0.01 < micrometres < 100 else None


def aperio_moment(date: str, time: str, zone: str) -> str | None:
    """Aperio writes the American date, the time and, in newer files, the zone."""
    zone = zone.removeprefix("GMT").replace(":", "")
    for day in ("%m/%d/%Y", "%m/%d/%y"):
        moment = timestamp(f"{date} {time} {zone}", f"{day} %H:%M:%S %z") or timestamp(
            f"{date} {time}", f"{day} %H:%M:%S"
        )
        if moment:
            return moment
    return None


def dicom_moment(text: str) -> str | None:
    """A moment as DICOM writes it (PS3.5, value representation DT), to the second, with its zone where it has one."""
    match = re.match(r"(\d{12})(\d{2})?(?:\.\d*)?([+-]\d{4})?", text.strip())
    if match is None:
        return None
    minute, second, zone = match.groups()
    moment = f"{minute}{second or '00'}"
    return timestamp(f"{moment}{zone}", "%Y%m%d%H%M%S%z") if zone else timestamp(moment, "%Y%m%d%H%M%S")


def base64_text(text: str) -> str:
    """What is coded in base64, as Philips codes text; as it is where that is no printable text."""
    try:
        said = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text
    return said if said.isprintable() and said else text


def positive(text: str | None) -> float | None:
    """A number above 0 with a decimal point or comma, else None."""
    try:
        value = float(text.replace(",", ".")) if text else 0.0
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def timestamp(text: str, form: str) -> str | None:
    """A time written in this form (see `datetime.strptime`), in ISO 8601; else None."""
    try:
        return datetime.strptime(text.strip(), form).isoformat()
    except ValueError:
        return None


def _iso(text: str) -> str | None:
    try:
        return datetime.fromisoformat(text.strip()).isoformat() if text else None
    except ValueError:
        return None
