"""Digests as clients write them, in hex or base64, alone or in a header."""

import base64
import binascii
from collections.abc import Mapping
from typing import Literal

from services.upload.core import Invalid

DigestName = Literal["md5", "sha256"]
DIGEST_BYTES: Mapping[DigestName, int] = {"md5": 16, "sha256": 32}
_DIGEST_FIELDS: Mapping[str, DigestName] = {"md5": "md5", "sha-256": "sha256"}


def digest_hex(name: DigestName, value: str) -> str:
    """A digest given as hex or base64, as lower-case hex. Raises `Invalid`."""
    value = value.strip()
    size = DIGEST_BYTES[name]
    try:
        raw = bytes.fromhex(value) if len(value) == 2 * size else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != size:
        raise Invalid(f"'{value}' is no {name} digest in hex or base64.")
    return raw.hex()


def digest_field(header: str) -> dict[DigestName, str]:
    """Parses a Repr-Digest or Content-Digest header (RFC 9530) to hex; algorithms we do not know are left out."""
    digests: dict[DigestName, str] = {}
    for member in header.split(","):
        algorithm, found, value = member.strip().partition("=")
        name = _DIGEST_FIELDS.get(algorithm.strip().lower())
        if name is None:
            continue
        value = value.strip()
        if not found or len(value) < 2 or value[0] != ":" or value[-1] != ":":
            raise Invalid(f"'{member.strip()}' is no digest of the form sha-256=:BASE64:.")
        digests[name] = digest_hex(name, value[1:-1])
    return digests
