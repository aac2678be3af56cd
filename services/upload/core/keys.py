"""The Idempotency-Key header."""

from services.upload.core import Invalid

LONGEST_KEY = 255


def idempotency_key(text: str) -> str:
    """A client's key for a first request that it may repeat. Raises `Invalid`."""
    if not text.isascii() or not text.isprintable() or len(text) > LONGEST_KEY:
        raise Invalid(f"The Idempotency-Key is not at most {LONGEST_KEY} printable ASCII characters.")
    return text
