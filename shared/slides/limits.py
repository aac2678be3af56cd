"""How much of a slide a decoder may have to hold at a time. Pure."""

# A decoder holds several whole tiles, and libvips those of 16 bits in two forms. At these sides a dicer of two slots
# and its children were seen to stay under 500 MB; at 2560, and of 16 bits at 1536, they took 582 MB.
MOST_TILE_PIXELS = 2048 * 2048
MOST_DEEP_TILE_PIXELS = 1024 * 1024


def tiles_too_large(what: str, width: int, height: int, bits: int) -> str | None:
    """A clause that says that `what`, its tiles or frames of so many pixels, are too large; None where they are not.

    `bits` is how many a channel has.
    """
    most = MOST_TILE_PIXELS if bits <= 8 else MOST_DEEP_TILE_PIXELS
    if width * height <= most:
        return None
    depth = "" if bits <= 8 else f" of {bits} bits"
    return f"its {what} of {width} x {height} pixels{depth} are larger than the {most:,} that can be decoded safely"
