"""What a file is, told by its first bytes: names lie, signatures rarely. Pure.

Sources: TIFF 6.0 and BigTIFF headers, PNG (RFC 2083), WebP container specification, DICOM PS3.10 section 7.1,
ZEISS CZI file format, ITU-T T.81 and T.800, PKWARE's APPNOTE.
"""

from typing import Literal

Kind = Literal["tiff", "png", "jpeg", "webp", "dicom", "czi", "zip"]

FORMATS = (
    "SVS, NDPI, SCN, BIF, Philips TIFF, TIFF and BigTIFF (tiled or in strips), CZI, DICOM, PNG, JPEG and WebP; "
    "MRXS, VMS and VMU with all their files, and DICOM series, each in one zip"
)

# So much of a file is enough to tell.
HEAD_BYTES = 512

_ONE_OF_THESE = f"Send one of these formats: {FORMATS}."
_TIFF = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")
_DICOM_PREAMBLE = 128
# The first entry, or the end of a zip without any.
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ARCHIVES = (b"Rar!", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b")
_UPLOAD_AGAIN = "Copy the file from the scanner again, then upload it again."
_ONE_FILE = "Export it from the scanner's software as one file, such as SVS or tiled TIFF, and upload that."
_WITH_FOLDER = "Choose it together with the folder that lies beside it, or upload both in one zip."
_WITH_FILES = "Choose it together with the files that lie beside it, or upload them all in one zip."
_ONE_OF_SEVERAL = {(".mrxs",): _WITH_FOLDER, (".vms", ".vmu"): _WITH_FILES, (".vsi",): _ONE_FILE}


def sniff(head: bytes, name: str = "") -> Kind | None:
    """The kind of file that starts with `head` (its first HEAD_BYTES or more), or None for what is not accepted.

    The name only matters where the bytes tell half: an MRXS file starts as the JPEG preview that it also is.
    """
    # Before TIFF: a DICOM file's preamble may be the beginning of a TIFF file with the same pixels.
    if head[_DICOM_PREAMBLE : _DICOM_PREAMBLE + 4] == b"DICM":
        return "dicom"
    if head.startswith(_TIFF):
        return "tiff"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return None if name.lower().endswith(".mrxs") else "jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"ZISRAWFILE"):
        return "czi"
    if head.startswith(_ZIP):
        return "zip"
    return None


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
        if head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
            return f"{name} is a bare JPEG 2000 image, which slidemill does not read.", _ONE_OF_THESE
        if not any(head):
            return f"{name} starts with nothing but zeros, so its content was lost on the way.", _UPLOAD_AGAIN
    return (
        f"{name} is no image that slidemill can read, whatever its name says.",
        _ONE_OF_THESE,
    )
