"""What the gateway works out of what clients say: ranges, chunk sizes, digests, names, keys, cursors. Pure."""


class Invalid(ValueError):
    """What a client sent can't be understood; the message says what is wrong, in one sentence."""
