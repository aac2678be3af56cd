"""How large the chunks of a file are."""

from services.upload.core.spans import Span

MIB = 1024 * 1024
SMALLEST_CHUNK = 256 * 1024
LARGEST_CHUNK = 4 * MIB
IN_ORDER_CHUNK = MIB


def largest_divisor(length: int) -> int | None:
    """The largest divisor of `length` from 256 KiB to 4 MiB; None if it has none."""
    # A divisor that large has a partner of at most length / 256 KiB, so walking the partners upwards finds the largest
    # first; past length's square root the divisors themselves are the shorter walk.
    first, last = -(-length // LARGEST_CHUNK), length // SMALLEST_CHUNK
    if last - first <= LARGEST_CHUNK - SMALLEST_CHUNK:
        parts = range(max(first, 1), last + 1)
        return next((length // count for count in parts if length % count == 0), None)
    sizes = range(LARGEST_CHUNK, SMALLEST_CHUNK - 1, -1)
    return next((size for size in sizes if length % size == 0), None)


def chunk_size(first: Span, total: int) -> int:
    """The GridFS chunk size, in bytes, of a file whose first request carries `first`.

    A first range that is the whole file sets no pattern. One without a suitable divisor can only be followed in order.
    """
    if first.stop >= total:
        return LARGEST_CHUNK
    return largest_divisor(first.stop - first.start) or IN_ORDER_CHUNK
