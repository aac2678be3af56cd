"""Which files are DICOM, and of which series each is, told by how they start.

Sources: DICOM PS3.10 section 7.1, PS3.3 C.7.3.1 (series) and C.8.12 (whole slide microscopy).
"""

import io
from collections.abc import Callable
from typing import NamedTuple

from shared.slides.damage import Damaged, Truncated
from shared.slides.elements import CLASS, WHOLE_SLIDE, Dataset, Reader, text
from shared.slides.sniff import HEAD_BYTES, sniff

# What comes before the series in a header is short.
SERIES_BYTES = 64 * 2**10
_SERIES = 0x0020000E


class DicomFile(NamedTuple):
    """A DICOM file's SeriesInstanceUID, None where its start does not tell it, and whether a part of a slide is in it.

    No such part are reports, directories of discs, and pictures by other machines.
    """

    series: str | None
    is_of_slide: bool


def dicom_file(start: Callable[[int], bytes]) -> DicomFile | None:
    """What a file is in its series, or None if it is not DICOM. `start` reads as many of its first bytes as are there.

    Of other files no more is read than tells that.
    """
    return in_series(start(SERIES_BYTES)) if sniff(start(HEAD_BYTES)) == "dicom" else None


def in_series(head: bytes) -> DicomFile:
    """What a file is in its series that starts with `head`, its first SERIES_BYTES, and is DICOM."""
    dataset: Dataset = {}
    reader = Reader(io.BytesIO(head), len(head))
    try:
        reader.header(dataset)
    except (Damaged, Truncated):
        # As far as it could be read.
        pass
    finally:
        reader.close()
    return DicomFile(text(dataset, _SERIES) or None, text(dataset, CLASS) == WHOLE_SLIDE)
