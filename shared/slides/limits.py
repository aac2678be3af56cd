"""How much of a slide a decoder may have to hold at a time. Pure."""

# A decoder holds a few whole tiles: of this many pixels a dicer and its children stay under 500 MB.
MOST_TILE_PIXELS = 2048 * 2048


def tiles_too_large(what: str, width: int, height: int) -> str | None:
    """A clause that says that `what`, its tiles or frames of so many pixels, are too large; None where they are not."""
    if width * height <= MOST_TILE_PIXELS:
        return None
    return (
        f"its {what} of {width} x {height} pixels are larger than the {MOST_TILE_PIXELS:,} that can be decoded safely"
    )
