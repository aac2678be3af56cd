"""What is answered to bytes that can't be stored as they come."""

from services.upload.core.spans import Span
from shared.http.problems import Problem
from shared.store.documents.uploads import Upload


def conflict(upload: Upload, span: Span) -> Problem:
    """409: other bytes than the stored ones."""
    return Problem(
        409,
        f"Bytes {span.start}-{span.stop - 1} of {upload.name} were sent before, with other contents.",
        "Start again with a new upload: the file has changed since this one began.",
    )


def gap(upload: Upload, start: int, expected: int) -> Problem:
    """409: a range that can only be stored in order came too early."""
    return Problem(
        409,
        f"This range of {upload.name} can only be stored in order: byte {expected} is expected next, not {start}.",
        f"Go on from byte {expected}, or send ranges whose length has a divisor from 256 KiB to 4 MiB.",
        extra={"expected": expected},
    )
