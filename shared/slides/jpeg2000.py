"""What the header of a JPEG 2000 codestream says of its image. Pixels are never touched.

Source: ITU-T T.800 (2002), annex A.5.1: the SIZ marker segment, which follows the start of the codestream at once.
"""

import struct
from typing import Literal

_START = b"\xff\x4f\xff\x51"
_SIZE = struct.Struct(">HHIIIIIIIIH")
_COMPONENT = struct.Struct(">BBB")
_EIGHT_BITS = 7
_WHOLE = (1, 1)
_HALVED = ((2, 1), (1, 2), (2, 2))
HEADER_BYTES = 64

Channels = Literal["whole", "halved"]


def channels(data: bytes, side: int) -> Channels | None:
    """How many pixels the channels have of a codestream of `side` x `side` pixels with three channels of 8 bits.

    "halved": of the last two there are half as many pixels across, down or both ways. None where the codestream is of
    any other kind.
    """
    components_at = len(_START) + _SIZE.size
    if not data.startswith(_START) or len(data) < components_at + 3 * _COMPONENT.size:
        return None
    _, _, right, bottom, left, top, _, _, _, _, count = _SIZE.unpack_from(data, len(_START))
    if (right, bottom, left, top, count) != (side, side, 0, 0, 3):
        return None
    (first, *luma), second, third = _COMPONENT.iter_unpack(data[components_at : components_at + 3 * _COMPONENT.size])
    depth, *chroma = second
    if (first, depth, tuple(luma)) != (_EIGHT_BITS, _EIGHT_BITS, _WHOLE) or second != third:
        return None
    if tuple(chroma) == _WHOLE:
        return "whole"
    return "halved" if tuple(chroma) in _HALVED else None
