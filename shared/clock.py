"""Time as a dependency, so that back-off, expiry and ticks are tested without waiting."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall clock in UTC plus a sleep that follows it."""

    def now(self) -> datetime:
        """The current time: UTC, cut to milliseconds, which is what MongoDB keeps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns once the clock has moved on by `seconds`."""
        ...


def to_milliseconds(moment: datetime) -> datetime:
    """The same moment without the microseconds that MongoDB would drop."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return to_milliseconds(datetime.now(UTC))

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands until it is moved; `sleep` moves it and lets other tasks run."""

    def __init__(self, start: datetime) -> None:
        self._now = to_milliseconds(start)

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        self._now = to_milliseconds(self._now + timedelta(seconds=seconds))

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self.advance(seconds)
        await asyncio.sleep(0)
