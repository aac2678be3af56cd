"""What can be wrong with a slide's header, and what the person who sent it is told. The same for every format."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from shared.errors import Reject

_UPLOAD_AGAIN = "Upload it again; if it fails again, copy it from the scanner once more."


class Truncated(Exception):
    """The file ends before something that it needs; that lies at `at`, in bytes from the start."""

    def __init__(self, at: int) -> None:
        super().__init__(f"ends before byte {at}")
        self.at = at


class Damaged(Exception):
    """The header contradicts itself; the message is a clause that starts with "its"."""


def read_exactly(source: BinaryIO, length: int, at: int, size: int) -> bytes:
    """These bytes of a file of `length`, which is asked first. Raises `Truncated`."""
    if at + size > length:
        raise Truncated(at + size)
    source.seek(at)
    data = source.read(size)
    if len(data) < size:
        raise Truncated(at + size)
    return data


@contextmanager
def told(name: str, length: int) -> Iterator[None]:
    """Turns both into the `Reject` of a file of `length` bytes, called `name`."""
    try:
        yield
    except Truncated as error:
        raise Reject(
            f"{name} was cut short: at least {error.at - length:,} of its bytes are missing after byte {length:,}.",
            _UPLOAD_AGAIN,
        ) from error
    except Damaged as error:
        raise Reject(f"{name} is damaged: {error}.", _UPLOAD_AGAIN) from error
