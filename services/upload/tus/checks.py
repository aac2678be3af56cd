"""What is wrong with a request, given the upload as it is: the rules of the offset. Pure."""

from email.utils import format_datetime

from services.upload.core import Invalid
from services.upload.tus.core import MEDIA
from shared.blobs.seal import IDLE
from shared.http.problems import Problem
from shared.slides.sniff import HEAD_BYTES
from shared.store.documents.uploads import Tus, Upload


def tus_of(upload: Upload) -> Tus:
    """What only uploads by this protocol have."""
    if upload.tus is None:
        raise ValueError(f"{upload.id} is no upload by tus.")
    return upload.tus


def expiry(upload: Upload) -> dict[str, str]:
    """Upload-Expires, as the header that it is, of an upload that is under way."""
    if upload.state != "receiving":
        return {}
    return {"Upload-Expires": format_datetime(upload.updated + IDLE, usegmt=True)}


def room_of(upload: Upload) -> int | None:
    """How many bytes the upload still lacks; None while only its sender knows."""
    return None if tus_of(upload).deferred else upload.total - upload.stored


def is_whole(upload: Upload) -> bool:
    """Whether every byte of it is stored."""
    return room_of(upload) == 0


def first_byte(upload: Upload, length: int | None) -> int:
    """From where on a request of this length needs the bytes: its offset, or what is stored of the same chunk, too.

    Those are needed to make the chunk whole, and to see what kind of file it is.
    """
    start = upload.stored - upload.stored % upload.chunk
    stop = start + upload.chunk
    whole = length is None or upload.stored + length >= (min(stop, upload.total) if upload.total else stop)
    return start if whole or upload.stored < HEAD_BYTES else upload.stored


def elsewhere(upload: Upload) -> Problem:
    """409: somebody else has moved the offset, or asked where to go on."""
    return Problem(
        409,
        f"Another request goes on with {upload.name}.",
        "Ask with HEAD where to go on.",
        headers={"Upload-Offset": str(upload.stored)},
    )


def mismatch(upload: Upload, algorithm: str) -> Problem:
    """460: other bytes arrived than were sent."""
    return Problem(
        460,
        f"The bytes that arrived do not have the {algorithm} that Upload-Checksum names.",
        "Send them again: nothing of them was kept.",
        headers={"Upload-Offset": str(upload.stored)},
    )


def check_step(upload: Upload, offset: int, length: int | None, total: int | None) -> None:
    """Raises what is wrong with appending `length` bytes at `offset`; `total` is the file's length, if it is told now.

    A `length` of None is what only the sender knows.
    """
    tus = tus_of(upload)
    if tus.final:
        raise Problem(403, f"{upload.name} is made of its parts and takes no bytes.", "Send its parts instead.")
    if offset != upload.stored:
        raise Problem(
            409,
            f"{upload.name} is stored up to byte {upload.stored}, but this request begins at byte {offset}.",
            "Ask with HEAD where to go on.",
            headers={"Upload-Offset": str(upload.stored)},
        )
    if total is not None and (total < offset if tus.deferred else total != upload.total):
        known = f"{offset} are stored" if tus.deferred else f"{upload.total} were announced before"
        raise Invalid(f"Upload-Length is {total} bytes, but {known}.")
    room = room_of(upload) if total is None else total - offset
    if room is not None and length is not None and length > room:
        raise Problem(
            413,
            f"The request brings {length} bytes, but {upload.name} lacks only {room}.",
            "Send no more than the announced length, or begin a new upload.",
        )


def not_bytes(media: str) -> Problem:
    """415: a body that is no bytes of a file, or comes where none can be taken."""
    return Problem(
        415,
        f"A body of type '{media}' can't be taken here.",
        f"Send bytes of the file as {MEDIA}, and none with a final upload.",
    )


def whole_part(upload: Upload, id: str) -> Upload:
    """The upload, if it is a part that is whole; else raises the problem."""
    if not tus_of(upload).partial:
        raise Invalid(f"{id} is a file of its own, not a part of one.")
    if upload.state != "receiving" or not is_whole(upload):
        raise Problem(409, f"The part {id} is not stored whole.", "Send it to its end first, or begin it again.")
    return upload
