"""The cursors of lists."""

import base64
import json
import re
from datetime import UTC, datetime

from services.upload.core import Invalid

_ID = re.compile("[0-9a-f]{32}")


def cursor(created: datetime, id: str) -> str:
    """Where the next page of a list begins: after this item."""
    return base64.urlsafe_b64encode(json.dumps([created.isoformat(), id]).encode()).decode().rstrip("=")


def after(cursor: str) -> tuple[datetime, str]:
    """The reverse of `cursor`. Raises `Invalid`."""
    try:
        created, id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(created)
        if moment.tzinfo is None or _ID.fullmatch(id) is None:
            raise ValueError
        return moment.astimezone(UTC), id
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise Invalid(f"'{cursor}' is no cursor that slidemill gave.") from None
