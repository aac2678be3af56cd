"""How long the delivery in hand may still take: the broker takes back what it has waited for for 30 minutes.

The runner sets it; who has a choice between going on at once and in a delivery of its own asks here.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_end: ContextVar[float | None] = ContextVar("end of the delivery in hand", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What runs in the context has so long."""
    token = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def enough_for(seconds: float) -> bool:
    """Whether what takes so long would end in time. Outside of a delivery there is no end."""
    end = _end.get()
    return end is None or time.monotonic() + seconds <= end
