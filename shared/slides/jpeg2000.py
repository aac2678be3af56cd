"""What the header of a JPEG 2000 codestream says of its image. Pixels are never touched.

Source: ITU-T T.800 (2002), annex A.5.1: the SIZ marker segment, which follows the start of the codestream at once.
"""

import struct

_START = b"\xff\x4f\xff\x51"
_SIZE = struct.Struct(">HHIIIIIIIIH")
_COMPONENT = struct.Struct(">BBB")
_EIGHT_BITS = 7
MOST_HEADER_BYTES = 64


def is_plain(data: bytes, side: int) -> bool:
    """Whether it is a codestream of `side` x `side` pixels with three whole channels of 8 bits, unsigned."""
    components_at = len(_START) + _SIZE.size
    if not data.startswith(_START) or len(data) < components_at + 3 * _COMPONENT.size:
        return False
    _, _, right, bottom, left, top, _, _, _, _, count = _SIZE.unpack_from(data, len(_START))
    if (right - left, bottom - top, count) != (side, side, 3):
        return False
    components = [_COMPONENT.unpack_from(data, components_at + n * _COMPONENT.size) for n in range(3)]
    return all(component == (_EIGHT_BITS, 1, 1) for component in components)
