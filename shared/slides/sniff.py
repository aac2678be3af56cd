"""What a file is, told by its first bytes: names lie, signatures rarely. Pure.

Sources: TIFF 6.0 and BigTIFF headers, PNG (RFC 2083), WebP container specification, DICOM PS3.10 section 7.1,
ZEISS CZI file format, ITU-T T.81 and T.800, PKWARE's APPNOTE.
"""

import re
from typing import Literal

Kind = Literal["tiff", "png", "jpeg", "webp", "dicom", "czi", "zip"]

FORMATS = (
    "SVS, NDPI, SCN, BIF, Philips TIFF, TIFF and BigTIFF (tiled or in strips), CZI, DICOM, PNG, JPEG and WebP; "
    "MRXS, VMS and VMU with all their files, and DICOM series, each in one zip"
)

# So much of a file is enough to tell.
HEAD_BYTES = 512

_ONE_OF_THESE = f"Send one of these formats: {FORMATS}."
# How each kind begins: places and the bytes that stand there. DICOM is before TIFF: a DICOM file's preamble may be the
# beginning of a TIFF file with the same pixels. A zip begins with its first entry, or with its end if it has none.
SIGNATURES: tuple[tuple[Kind, dict[int, bytes]], ...] = (
    ("dicom", {128: b"DICM"}),
    ("tiff", {0: b"II*\0"}),
    ("tiff", {0: b"MM\0*"}),
    ("tiff", {0: b"II+\0\x08\0\0\0"}),
    ("tiff", {0: b"MM\0+\0\x08\0\0"}),
    ("png", {0: b"\x89PNG\r\n\x1a\n"}),
    ("jpeg", {0: b"\xff\xd8\xff"}),
    ("webp", {0: b"RIFF", 8: b"WEBP"}),
    ("czi", {0: b"ZISRAWFILE"}),
    ("zip", {0: b"PK\x03\x04"}),
    ("zip", {0: b"PK\x05\x06"}),
)
# By these names such a file is only the preview of a slide.
_PREVIEWS: dict[Kind, str] = {"tiff": ".vsi", "jpeg": ".mrxs"}
_ARCHIVES = (b"Rar!", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b")
# What people take for slides or pictures that we read. Each tells itself by its first bytes.
_OTHERS = {
    "a bare JPEG 2000 image": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "a JPEG XL image": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "a JPEG XR image": rb"II\xbc",
    "an AVIF image": rb".{4}ftypavi[fs]",
    "a HEIC image": rb".{4}ftyp(hei|hev|mif1|msf1)",
    "a GIF image": rb"GIF8[79]a",
    "a BMP image": rb"BM.{12}",
    "a Photoshop image": rb"8BPS",
    "an OpenEXR image": rb"\x76\x2f\x31\x01",
    "a FITS image": rb"SIMPLE  =",
    "a NIfTI image": rb".{344}n[i+]1\0|\x1c\x02\0\0n\+2",
    "a portable pixmap (PPM)": rb"P[1-7]\s",
    "an icon": rb"\0\0[\1\2]\0[^\0]\0",
    "a drawing (SVG)": rb"\s*(<\?xml[^>]*>\s*)?(<!--.{0,200}?-->\s*)?(<!DOCTYPE svg|<svg)",
    "a PDF document": rb"%PDF-",
    "a web page": rb"\s*<(!doctype html|html|!DOCTYPE html|HTML)",
    "a Sakura slide": rb"SQLite format 3",
    "a Philips iSyntax slide": rb"<DataObject ObjectType=\"DPUfsImport\"",
}
DISC = "dicomdir"
# Of slides and pictures, read or not.
PICTURE_ENDINGS = tuple(
    (
        ".svs .tif .tiff .btf .tf2 .tf8 .ndpi .scn .bif .mrxs .vms .vmu .vsi .czi .svslide .isyntax .i2syntax .qptiff "
        ".sdpc .kfb .mds .mdsx .dcm .dicom .dic .ima .lif .lsm .oir .nd2 .zvi .avif .bmp .exr .gif .heic .heif .j2c "
        ".j2k .jp2 .jpe .jpeg .jpf .jpg .jpx .jxl .jxr .png .ppm .psd .webp .zip .7z .rar"
    ).split()
)
_UPLOAD_AGAIN = "Copy the file from the scanner again, then upload it again."
_ONE_FILE = "Export it from the scanner's software as one file, such as SVS or tiled TIFF, and upload that."
_WITH_FOLDER = "Choose it together with the folder that lies beside it, or upload both in one zip."
_WITH_FILES = "Choose it together with the files that lie beside it, or upload them all in one zip."
_ONE_OF_SEVERAL = {(".mrxs",): _WITH_FOLDER, (".vms", ".vmu"): _WITH_FILES, (".vsi",): _ONE_FILE}


def sniff(head: bytes, name: str = "") -> Kind | None:
    """The kind of file that starts with `head` (its first HEAD_BYTES or more), or None for what is not accepted.

    The name only matters where the bytes tell half: an MRXS file starts as the JPEG preview that it also is, a VSI file
    as a TIFF of its preview.
    """
    for kind, signature in SIGNATURES:
        if all(head.startswith(what, at) for at, what in signature.items()):
            preview = _PREVIEWS.get(kind)
            return None if preview is not None and name.lower().endswith(preview) else kind
    return None


def is_picture(head: bytes, name: str) -> bool:
    """Whether somebody may have meant a file for a slide: by its content or, where that is damaged or another format's,
    by its name. Office documents are zips too, and the directory of a disc is DICOM. The page decides the same
    (`services/upload/web/src/model/pictures.ts`) from the lists here, which `docs/generate.py` hands to it."""
    if name.casefold() == DISC:
        return False
    if name.lower().endswith(PICTURE_ENDINGS):
        return True
    return sniff(head, name) not in (None, "zip")


def unreadable(name: str, head: bytes | None = None) -> tuple[str, str]:
    """(reason, remedy) for a file that `sniff` does not accept; `head` lets them say what it is instead."""
    if head is not None and not head:
        return f"{name} is empty: it holds 0 bytes.", _UPLOAD_AGAIN
    for endings, remedy in _ONE_OF_SEVERAL.items():
        if name.lower().endswith(endings):
            return f"{name} is only one file of a slide that consists of several.", remedy
    if head is not None:
        if head.startswith(_ARCHIVES):
            return (
                f"{name} is an archive, and slidemill unpacks only zips.",
                "Unpack it; upload the slides in it, or one that consists of several files as a zip.",
            )
        for what, signature in _OTHERS.items():
            if re.match(signature, head, re.DOTALL):
                return f"{name} is {what}, which slidemill does not read.", _ONE_OF_THESE
        if not any(head):
            return f"{name} starts with nothing but zeros, so its content was lost on the way.", _UPLOAD_AGAIN
    return (
        f"{name} is no image that slidemill can read, whatever its name says.",
        _ONE_OF_THESE,
    )
