"""What a reader's words about a file mean for the person who sent it. Pure.

Libraries speak of their functions and of bytes. Their words are kept for the operator; the person is told what is
wrong and what to do.
"""

import errno
import re
from typing import NamedTuple

from shared.errors import Reject


class _Meaning(NamedTuple):
    """`words` is a pattern for what a library says, `clause` what that means, `remedy` what to do."""

    words: str
    clause: str
    remedy: str


_AGAIN = "Check that it opens in the scanner's own viewer, then upload it again or export it once more."
_EXPORT = "Export it from the scanner's software as SVS, DICOM or tiled TIFF with JPEG, and upload that."
# The first whose words are found counts.
_MEANINGS = (
    _Meaning(
        r"Slide contains",
        "its files are not those of one slide with one plane and one channel",
        "Zip the files of one slide, with one plane and one channel, and upload that.",
    ),
    _Meaning(
        r"instead of RST",
        "its JPEG data have their chroma halved both ways between restart markers, which OpenSlide does not read, "
        "or are damaged",
        _EXPORT,
    ),
    _Meaning(
        r"Unsupported (marker|JPEG (process|data precision))",
        "it is JPEG of a rare kind (lossless, hierarchical or of more than 8 bits), or its header is damaged",
        "Export it as plain JPEG, PNG or TIFF, and upload that.",
    ),
    _Meaning(r"Empty JPEG|Invalid TIFF|Can't validate|unable to call", "its header is damaged", _AGAIN),
    _Meaning(
        r"Unsupported|not supported|Sorry, |not a known file format|Unknown image format",
        "its pixels are stored in a way that slidemill does not read",
        _EXPORT,
    ),
    _Meaning(r"Maximum supported|out of range|too large", "its header claims a size that can't be right", _AGAIN),
    _Meaning(
        r"premature end|[Tt]runcated|Not enough data|end of file|read error|unable to (read|fetch|parse)|got \d+ bytes",
        "its data end too early or are damaged in the middle",
        _AGAIN,
    ),
)
_DAMAGED = _Meaning("", "its data are damaged", _AGAIN)


_FULL = r"No space left on device|Disk quota exceeded"


def unreadable(name: str, heard: str) -> Reject | OSError:
    """The rejection of a file that its reader can't read; `heard` is what that said.

    An `OSError` where it is not the file's fault: libvips writes large pictures to a temporary file to turn them.
    """
    if re.search(_FULL, heard):
        return OSError(errno.ENOSPC, heard)
    meaning = next((meaning for meaning in _MEANINGS if re.search(meaning.words, heard)), _DAMAGED)
    return Reject(f"{name} can't be read: {meaning.clause}.", meaning.remedy, heard)
